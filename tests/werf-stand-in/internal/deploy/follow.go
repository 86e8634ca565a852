package deploy

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"helm.sh/helm/v4/pkg/kube"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/resource"
)

const (
	lookEvery = time.Second
	// patience is how long a new Pod may be in trouble before the deploy is given up. werf gives
	// up after a few failures per replica, long before the timeout. Tests want to see what the
	// operator says meanwhile, and it looks every 15 seconds only.
	patience = 30 * time.Second
)

// hopeless are the reasons of a waiting container that do not mend by waiting.
var hopeless = map[string]bool{
	"CrashLoopBackOff":           true,
	"CreateContainerConfigError": true,
	"ErrImageNeverPull":          true,
	"ErrImagePull":               true,
	"ImagePullBackOff":           true,
	"InvalidImageName":           true,
}

// follower prints progress while Helm waits, and stops the wait when it has become pointless.
type follower struct {
	// ctx ends when waiting is pointless.
	ctx  context.Context
	stop func()

	mu     sync.Mutex
	reason error
}

func (f *follower) cause() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reason
}

func (f *follower) giveUp(reason error, cancel context.CancelFunc) {
	f.mu.Lock()
	f.reason = reason
	f.mu.Unlock()
	cancel()
}

func (c *Cluster) follow(ctx context.Context, made *plan, since time.Time, period time.Duration) *follower {
	waiting, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	f := &follower{ctx: waiting, stop: func() { cancel(); <-done }}
	go func() {
		defer close(done)
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		printed := time.Now()
		troubled := map[string]time.Time{}
		for {
			select {
			case <-waiting.Done():
				return
			case <-ticker.C:
			}
			if period > 0 && time.Since(printed) >= period {
				printed = time.Now()
				printTable(made.targets)
			}
			if reason := c.trouble(waiting, made.targets, since, troubled); reason != nil {
				f.giveUp(reason, cancel)
				return
			}
		}
	}()
	return f
}

// state is how a resource is doing.
type state struct {
	ready   bool
	message string
}

func look(info *resource.Info) state {
	object, err := resource.NewHelper(info.Client, info.Mapping).Get(info.Namespace, info.Name)
	if err != nil {
		return state{message: "not found"}
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return state{message: err.Error()}
	}
	result, err := status.Compute(&unstructured.Unstructured{Object: content})
	if err != nil {
		return state{message: err.Error()}
	}
	return state{ready: result.Status == status.CurrentStatus, message: result.Message}
}

func printTable(targets kube.ResourceList) {
	say("Progress status:")
	for _, info := range targets {
		now := look(info)
		if now.ready {
			say("  %-40s READY", describe(info))
		} else {
			say("  %-40s WAITING  %s", describe(info), now.message)
		}
	}
}

// trouble looks at the Pods that came up since the run began.
func (c *Cluster) trouble(ctx context.Context, targets kube.ResourceList, since time.Time, troubled map[string]time.Time) error {
	for _, info := range targets {
		selector := podSelector(info)
		if selector == "" {
			continue
		}
		pods, err := c.client.CoreV1().Pods(info.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			// Helm's own watch meets the same refusal and reports it.
			continue
		}
		for _, pod := range pods.Items {
			if pod.CreationTimestamp.Time.Before(since) || pod.DeletionTimestamp != nil {
				continue
			}
			reason := hopelessReason(&pod)
			if reason == "" {
				// A crashing container looks well between two crashes; only a ready Pod is forgiven.
				if isReady(&pod) {
					delete(troubled, pod.Name)
				}
				continue
			}
			first, known := troubled[pod.Name]
			if !known {
				troubled[pod.Name] = time.Now()
				say("%s: Pod/%s: %s", describe(info), pod.Name, reason)
			} else if time.Since(first) > patience {
				return fmt.Errorf("%s: Pod/%s: %s", describe(info), pod.Name, reason)
			}
		}
	}
	return nil
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func hopelessReason(pod *corev1.Pod) string {
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, container := range statuses {
			if waiting := container.State.Waiting; waiting != nil && hopeless[waiting.Reason] {
				return fmt.Sprintf("container %q: %s: %s", container.Name, waiting.Reason, waiting.Message)
			}
		}
	}
	return ""
}

// podSelector gives the selector of a workload as text, empty for everything else.
func podSelector(info *resource.Info) string {
	switch info.Mapping.GroupVersionKind.Kind {
	case "Deployment", "StatefulSet", "DaemonSet":
	default:
		return ""
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(info.Object)
	if err != nil {
		return ""
	}
	found, _, err := unstructured.NestedMap(content, "spec", "selector")
	if err != nil {
		return ""
	}
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found, &selector); err != nil {
		return ""
	}
	return metav1.FormatLabelSelector(&selector)
}
