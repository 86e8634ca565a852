package deploy

import (
	"bytes"
	"fmt"
	"maps"
	"strings"

	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Run puts the marks on every rendered resource; Helm calls it after the templates.
func (m marks) Run(rendered *bytes.Buffer) (*bytes.Buffer, error) {
	documents := releaseutil.SplitManifests(rendered.String())
	var marked bytes.Buffer
	for index := range len(documents) {
		text := documents[fmt.Sprintf("manifest-%d", index)]
		object, err := parseObject(text)
		if err != nil {
			return nil, err
		}
		if object == nil {
			continue
		}
		object.SetAnnotations(merged(object.GetAnnotations(), m.annotations, m.runtimeAnnotations))
		object.SetLabels(merged(object.GetLabels(), m.labels, m.runtimeLabels))
		out, err := yaml.Marshal(object.Object)
		if err != nil {
			return nil, err
		}
		marked.WriteString("---\n")
		marked.Write(out)
	}
	return &marked, nil
}

// withoutRuntime gives the manifests in a form in which runtime marks make no difference.
func (m marks) withoutRuntime(manifest string) string {
	if len(m.runtimeAnnotations)+len(m.runtimeLabels) == 0 {
		return manifest
	}
	documents := releaseutil.SplitManifests(manifest)
	var plain strings.Builder
	for index := range len(documents) {
		text := documents[fmt.Sprintf("manifest-%d", index)]
		object, err := parseObject(text)
		if err != nil || object == nil {
			plain.WriteString(text)
			continue
		}
		m.strip(object)
		out, err := yaml.Marshal(object.Object)
		if err != nil {
			return manifest
		}
		plain.Write(out)
	}
	return plain.String()
}

// strip removes the runtime marks of this run.
func (m marks) strip(object *unstructured.Unstructured) {
	annotations, labels := object.GetAnnotations(), object.GetLabels()
	for key := range m.runtimeAnnotations {
		delete(annotations, key)
	}
	for key := range m.runtimeLabels {
		delete(labels, key)
	}
	object.SetAnnotations(annotations)
	object.SetLabels(labels)
}

func parseObject(text string) (*unstructured.Unstructured, error) {
	content := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &content); err != nil {
		return nil, fmt.Errorf("cannot read a rendered manifest: %w", err)
	}
	if len(content) == 0 {
		return nil, nil
	}
	return &unstructured.Unstructured{Object: content}, nil
}

func merged(sets ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, set := range sets {
		maps.Copy(all, set)
	}
	return all
}

// pairs reads `key=value` arguments. Values are not repeated in the error, they may be secret.
func pairs(flag string, given []string) (map[string]string, error) {
	read := map[string]string{}
	for _, pair := range given {
		key, value, found := strings.Cut(pair, "=")
		if !found || key == "" {
			return nil, fmt.Errorf("%s needs key=value", flag)
		}
		read[key] = value
	}
	return read, nil
}
