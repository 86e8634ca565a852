package deploy

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestTheReportIsWrittenInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(path, []byte("a longer text that was there before the report was written, and then some more of it, "+
		"so that what remains would be seen"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	report := Report{Release: "app", Namespace: "prod", Revision: 2, Status: statusFailed, FailedOperations: []string{"y", "x"}}
	if err := report.Save(path); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) {
		t.Error("another file took its place")
	}
	got, err := os.ReadFile(path)
	want := "{\n\t\"version\": 3,\n\t\"release\": \"app\",\n\t\"namespace\": \"prod\",\n\t\"revision\": 2,\n" +
		"\t\"status\": \"failed\",\n\t\"failedOperations\": [\n\t\t\"x\",\n\t\t\"y\"\n\t]\n}"
	if err != nil || string(got) != want {
		t.Errorf("got %s", got)
	}
}

func TestOnlyJSONReportsAreWritten(t *testing.T) {
	if err := (&Report{}).Save(filepath.Join(t.TempDir(), "report.txt")); err == nil {
		t.Error("was accepted")
	}
}

func TestRuntimeMarksMakeNoDifference(t *testing.T) {
	m := marks{runtimeAnnotations: map[string]string{"run": "2"}, runtimeLabels: map[string]string{"by": "us"}}
	object := func(annotations map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": "a", "annotations": annotations, "resourceVersion": "7"},
		}}
	}
	one, err := significant(object(map[string]any{"run": "1"}), m)
	if err != nil {
		t.Fatal(err)
	}
	other, err := significant(object(map[string]any{}), m)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := mustJSON(t, one), mustJSON(t, other); got != want {
		t.Errorf("%s is not %s", got, want)
	}
}

func mustJSON(t *testing.T, content map[string]any) string {
	t.Helper()
	text, err := (&unstructured.Unstructured{Object: content}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestMarksNeedAKey(t *testing.T) {
	if _, err := pairs("--add-label", []string{"secret"}); err == nil {
		t.Error("was accepted")
	}
}
