package deploy

import (
	"context"
	"crypto/sha3"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	lockConfigMap = "werf-synchronization"
	leaseTime     = 10 * time.Second
	renewEvery    = 3 * time.Second
	askAgainAfter = 500 * time.Millisecond
)

// lease is what the lock's annotation holds, as JSON.
type lease struct {
	UUID               string
	LockName           string
	ExpireAtTimestamp  int64
	SharedHoldersCount int64
	IsShared           bool
}

// Lock is a lease in an annotation of a ConfigMap in the release's namespace. Its holder renews
// it; a killed holder's lease runs out.
type Lock struct {
	client    kubernetes.Interface
	namespace string
	key       string
	mine      lease
	stop      context.CancelFunc
	renewed   chan struct{}
}

// Acquire waits until the lock is free and takes it. Should it be lost later, lost is called.
func Acquire(ctx context.Context, client kubernetes.Interface, namespace, release string, lost func(error)) (*Lock, error) {
	name := "release/" + release
	lock := &Lock{
		client:    client,
		namespace: namespace,
		key:       fmt.Sprintf("lockgate.io/%x", sha3.Sum224([]byte(name))),
		mine:      lease{UUID: uuid.NewString(), LockName: name},
		renewed:   make(chan struct{}),
	}
	announced := false
	for {
		taken, err := lock.try(ctx, false)
		if err != nil {
			return nil, fmt.Errorf("cannot lock release %q: %w", release, err)
		}
		if taken {
			break
		}
		if !announced {
			say("Waiting for locked %q", name)
			announced = true
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(askAgainAfter):
		}
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	lock.stop = stop
	go lock.renew(renewing, lost)
	return lock, nil
}

// Release gives the lock back. Failing to do so costs the next holder the rest of the lease.
func (l *Lock) Release(ctx context.Context) {
	l.stop()
	<-l.renewed
	for ctx.Err() == nil {
		held, err := l.client.CoreV1().ConfigMaps(l.namespace).Get(ctx, lockConfigMap, metav1.GetOptions{})
		if err != nil || l.read(held).UUID != l.mine.UUID {
			return
		}
		delete(held.Annotations, l.key)
		_, err = l.client.CoreV1().ConfigMaps(l.namespace).Update(ctx, held, metav1.UpdateOptions{})
		if !apierrors.IsConflict(err) {
			return
		}
	}
}

func (l *Lock) renew(ctx context.Context, lost func(error)) {
	defer close(l.renewed)
	good := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(renewEvery):
		}
		taken, err := l.try(ctx, true)
		switch {
		case ctx.Err() != nil:
			return
		case taken:
			good = time.Now()
		case err == nil:
			lost(fmt.Errorf("lost the lock %q to another run", l.mine.LockName))
			return
		case time.Since(good) > leaseTime:
			lost(fmt.Errorf("cannot renew the lock %q: %w", l.mine.LockName, err))
			return
		}
	}
}

// try takes or prolongs the lease. It answers false when somebody else holds it.
func (l *Lock) try(ctx context.Context, renewing bool) (bool, error) {
	maps := l.client.CoreV1().ConfigMaps(l.namespace)
	for {
		held, err := maps.Get(ctx, lockConfigMap, metav1.GetOptions{})
		fresh := apierrors.IsNotFound(err)
		if fresh {
			held = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: lockConfigMap, Namespace: l.namespace}}
		} else if err != nil {
			return false, err
		}
		now := time.Now()
		current := l.read(held)
		others := current.UUID != "" && current.UUID != l.mine.UUID
		if others && (renewing || now.Unix() < current.ExpireAtTimestamp) {
			return false, nil
		}
		if err := l.write(held, now.Add(leaseTime)); err != nil {
			return false, err
		}
		if fresh {
			_, err = maps.Create(ctx, held, metav1.CreateOptions{})
		} else {
			_, err = maps.Update(ctx, held, metav1.UpdateOptions{})
		}
		if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
			continue
		}
		return err == nil, err
	}
}

func (l *Lock) read(held *corev1.ConfigMap) lease {
	var current lease
	if text, found := held.Annotations[l.key]; found {
		// An annotation that cannot be read locks nobody out.
		_ = json.Unmarshal([]byte(text), &current)
	}
	return current
}

func (l *Lock) write(held *corev1.ConfigMap, until time.Time) error {
	l.mine.ExpireAtTimestamp = until.Unix()
	text, err := json.Marshal(l.mine)
	if err != nil {
		return err
	}
	if held.Annotations == nil {
		held.Annotations = map[string]string{}
	}
	held.Annotations[l.key] = string(text)
	return nil
}
