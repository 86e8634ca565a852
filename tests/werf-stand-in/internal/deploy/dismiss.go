package deploy

import (
	"context"
	"fmt"
	"strings"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"werf.io/operator/tests/werf-stand-in/internal/options"
)

// Dismiss removes the release: `werf dismiss`. Nothing to remove is success.
func Dismiss(ctx context.Context, o *options.Options, guard Guard) error {
	cluster, err := Connect(o)
	if err != nil {
		return err
	}
	if _, err := cluster.client.CoreV1().Namespaces().Get(ctx, o.Namespace, metav1.GetOptions{}); err != nil {
		if apierrors.IsNotFound(err) {
			say("Skipped dismiss: no release namespace %q found", o.Namespace)
			return nil
		}
		return fmt.Errorf("cannot get namespace %q: %w", o.Namespace, err)
	}
	known, err := cluster.history(o.Release)
	if err != nil {
		return err
	}
	if known.last == nil {
		say("Skipped dismiss: no release %q (namespace: %q) found", o.Release, o.Namespace)
	} else if err := cluster.uninstall(ctx, o, guard); err != nil {
		return err
	}
	if o.WithNamespace {
		say("Deleting namespace %q", o.Namespace)
		err := cluster.client.CoreV1().Namespaces().Delete(ctx, o.Namespace, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("cannot delete namespace %q: %w", o.Namespace, err)
		}
	}
	return nil
}

func (c *Cluster) uninstall(ctx context.Context, o *options.Options, guard Guard) error {
	lock, err := Acquire(ctx, c.client, o.Namespace, o.Release, guard.Abort)
	if err != nil {
		return err
	}
	guard.Hold(lock)
	defer lock.Release(context.WithoutCancel(ctx))

	say("Deleting release %q (namespace: %q)", o.Release, o.Namespace)
	remove := action.NewUninstall(c.helm)
	remove.IgnoreNotFound = true
	remove.DisableHooks = !o.WithHooks
	// The watcher is content when the first resources are gone and it has not heard of the others yet.
	remove.WaitStrategy = kube.LegacyStrategy
	remove.Timeout = o.Timeout()
	remove.DeletionPropagation = strings.ToLower(o.DeletePropagation)
	if _, err := remove.Run(o.Release); err != nil {
		return fmt.Errorf("cannot delete release %q: %w", o.Release, err)
	}
	say("Succeeded deletion of release %q (namespace: %q)", o.Release, o.Namespace)
	return nil
}
