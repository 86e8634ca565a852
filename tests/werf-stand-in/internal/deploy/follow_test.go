package deploy

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestAPodThatCannotPullItsImageIsHopeless(t *testing.T) {
	waiting := func(reason string) *corev1.Pod {
		state := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
		return &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "web", State: state}}}}
	}
	for _, reason := range []string{"ErrImagePull", "ImagePullBackOff", "CrashLoopBackOff"} {
		if got := hopelessReason(waiting(reason)); !strings.Contains(got, `container "web": `+reason) {
			t.Errorf("%s: %q", reason, got)
		}
	}
	if got := hopelessReason(waiting("ContainerCreating")); got != "" {
		t.Errorf("got %q", got)
	}
}
