package deploy

import (
	"context"
	"fmt"
	"reflect"
	"sort"
	"strings"

	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/resource"
)

const releaseNameAnnotation = "meta.helm.sh/release-name"

// operation is one thing that has to be done to one resource.
type operation struct {
	verb string
	info *resource.Info
	// name is for people; hooks have no info.
	name string
}

// String words an operation as nelm does. It names no namespace but another than the release's, and
// the stand-in does not deploy into another one.
func (o operation) String() string { return fmt.Sprintf("%s: %s", strings.ToLower(o.verb), o.name) }

// plan is the difference between the cluster and what was rendered.
type plan struct {
	operations []operation
	// targets are all resources of the new release, changed or not.
	targets kube.ResourceList
	// recordOnly means that no resource changes, but the stored release does.
	recordOnly bool
}

func (p *plan) empty() bool { return len(p.operations) == 0 && !p.recordOnly }

func (p *plan) deletes(info *resource.Info) bool {
	for _, op := range p.operations {
		if op.verb == "Delete" && op.name == describe(info) && op.info.Namespace == info.Namespace {
			return true
		}
	}
	return false
}

func (p *plan) names() []string {
	names := make([]string, 0, len(p.operations))
	for _, op := range p.operations {
		names = append(names, op.String())
	}
	return names
}

// print shows the summary werf shows before it starts.
func (p *plan) print(release, namespace string) {
	counts := map[string]int{}
	for _, op := range p.operations {
		counts[op.verb]++
	}
	say("Planned changes summary for release %q (namespace: %q):", release, namespace)
	verbs := make([]string, 0, len(counts))
	for verb := range counts {
		verbs = append(verbs, verb)
	}
	sort.Strings(verbs)
	for _, verb := range verbs {
		say("- %s: %d resource(s)", strings.ToLower(verb), counts[verb])
	}
	if p.recordOnly {
		say("- update the release record only")
	}
	for _, op := range p.operations {
		say("%s", op)
	}
}

func (c *Cluster) plan(ctx context.Context, rendered *release.Release, known history, m marks) (*plan, error) {
	targets, err := c.helm.KubeClient.Build(strings.NewReader(rendered.Manifest), false)
	if err != nil {
		return nil, fmt.Errorf("unable to build resources: %w", err)
	}
	made := &plan{targets: targets}
	for _, info := range targets {
		if err := own(info.Object, rendered.Name, rendered.Namespace); err != nil {
			return nil, err
		}
		verb, err := compare(info, m)
		if err != nil {
			return nil, err
		}
		if verb != "" {
			made.operations = append(made.operations, operation{verb, info, describe(info)})
		}
	}
	for _, hook := range rendered.Hooks {
		for _, event := range hook.Events {
			if strings.HasSuffix(event.String(), "-install") || strings.HasSuffix(event.String(), "-upgrade") {
				made.operations = append(made.operations, operation{verb: "Recreate", name: hook.Kind + "/" + hook.Name})
				break
			}
		}
	}
	// A run that was killed or failed may have left resources only its own revision knows.
	for _, before := range []*release.Release{known.live, known.last} {
		if err := c.planDeletes(made, before); err != nil {
			return nil, err
		}
	}
	made.recordOnly = len(made.operations) == 0 && !sameRecord(known.last, rendered, m)
	return made, ctx.Err()
}

func (c *Cluster) planDeletes(made *plan, revision *release.Release) error {
	if revision == nil {
		return nil
	}
	before, err := c.helm.KubeClient.Build(strings.NewReader(revision.Manifest), false)
	if err != nil {
		return fmt.Errorf("unable to build resources of revision %d: %w", revision.Version, err)
	}
	for _, info := range before.Difference(made.targets) {
		if made.deletes(info) {
			continue
		}
		if err := info.Get(); err != nil {
			if apierrors.IsNotFound(err) {
				continue
			}
			return err
		}
		object, err := meta.Accessor(info.Object)
		if err != nil {
			return err
		}
		annotations := object.GetAnnotations()
		if annotations[kube.ResourcePolicyAnno] == kube.KeepPolicy || annotations[releaseNameAnnotation] != revision.Name {
			continue
		}
		made.operations = append(made.operations, operation{"Delete", info, describe(info)})
	}
	return nil
}

// sameRecord tells whether storing the release again would say nothing new.
func sameRecord(last, rendered *release.Release, m marks) bool {
	if last == nil || last.Info.Status != common.StatusDeployed {
		return false
	}
	if m.withoutRuntime(last.Manifest) != m.withoutRuntime(rendered.Manifest) || len(last.Hooks) != len(rendered.Hooks) {
		return false
	}
	return last.Info.Notes == rendered.Info.Notes
}

// compare asks the server what an apply would do to the resource; "" means nothing.
func compare(info *resource.Info, m marks) (string, error) {
	helper := resource.NewHelper(info.Client, info.Mapping).WithFieldManager(fieldManager)
	live, err := helper.Get(info.Namespace, info.Name)
	if apierrors.IsNotFound(err) {
		return "Create", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot get %s: %w", describe(info), err)
	}
	data, err := runtime.Encode(unstructured.UnstructuredJSONScheme, info.Object)
	if err != nil {
		return "", err
	}
	force := true
	applied, err := helper.DryRun(true).Patch(info.Namespace, info.Name, types.ApplyPatchType, data, &metav1.PatchOptions{Force: &force})
	switch {
	case apierrors.IsForbidden(err):
		return "Blind apply", nil
	case apierrors.IsInvalid(err):
		return "Recreate", nil
	case err != nil:
		return "", fmt.Errorf("cannot compare %s: %w", describe(info), err)
	}
	before, err := significant(live, m)
	if err != nil {
		return "", err
	}
	after, err := significant(applied, m)
	if err != nil {
		return "", err
	}
	if reflect.DeepEqual(before, after) {
		return "", nil
	}
	return "Update", nil
}

// significant drops what changes by itself or must not count.
func significant(object runtime.Object, m marks) (map[string]any, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, err
	}
	plain := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(content)}
	m.strip(plain)
	if len(plain.GetAnnotations()) == 0 {
		unstructured.RemoveNestedField(plain.Object, "metadata", "annotations")
	}
	for _, field := range []string{"managedFields", "resourceVersion", "generation"} {
		unstructured.RemoveNestedField(plain.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(plain.Object, "status")
	return plain.Object, nil
}

// own writes the marks by which Helm knows its resources, as Helm does when it applies.
func own(object runtime.Object, name, namespace string) error {
	accessor, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	accessor.SetLabels(merged(accessor.GetLabels(), map[string]string{"app.kubernetes.io/managed-by": "Helm"}))
	accessor.SetAnnotations(merged(accessor.GetAnnotations(), map[string]string{
		releaseNameAnnotation:            name,
		"meta.helm.sh/release-namespace": namespace,
	}))
	return nil
}

func describe(info *resource.Info) string {
	return info.Mapping.GroupVersionKind.Kind + "/" + info.Name
}
