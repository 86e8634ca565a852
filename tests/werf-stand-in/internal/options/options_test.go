package options

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func parsed(t *testing.T, env Env, args ...string) (*Options, error) {
	t.Helper()
	o := &Options{}
	flags := pflag.NewFlagSet("apply", pflag.ContinueOnError)
	flags.SetOutput(os.NewFile(0, os.DevNull))
	o.BindCommon(flags, env)
	o.BindBundle(flags, env)
	o.BindApply(flags, env)
	return o, flags.Parse(args)
}

func mustParse(t *testing.T, env Env, args ...string) *Options {
	t.Helper()
	o, err := parsed(t, env, args...)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestTheJobsArgumentsAreAccepted(t *testing.T) {
	o := mustParse(t, Env{}, "--repo=host/app", "--tag=v1", "--release=app", "--namespace=prod", "--timeout=600",
		"--auto-rollback", "--releases-history-max=10", "--skip-dependencies-repo-refresh", "--values=/values/values.yaml",
		"--status-progress-period=15", "--no-pod-logs", "--no-notes", "--log-pretty=false", "--log-color-mode=off",
		"--save-deploy-report", "--deploy-report-path=/dev/termination-log.json", "--insecure-registry",
		"--no-create-namespace", "--runtime-annotations=a=b,c=d")
	if o.Timeout() != 10*time.Minute || !o.AutoRollback || o.HistoryMax != 10 || !o.InsecureRegistry {
		t.Errorf("got %+v", o)
	}
	if !reflect.DeepEqual(o.RuntimeAnnotations, []string{"a=b", "c=d"}) {
		t.Errorf("got %v", o.RuntimeAnnotations)
	}
}

func TestAnUnknownFlagIsRefused(t *testing.T) {
	for _, flag := range []string{"--synchronization=x", "--no-such-flag"} {
		if _, err := parsed(t, Env{}, flag); err == nil {
			t.Errorf("%s was accepted", flag)
		}
	}
}

func TestRepoAndReleaseAreRequired(t *testing.T) {
	cases := map[string][]string{
		"--repo=ADDRESS param required":    {"--release=app"},
		"--release=RELEASE param required": {"--repo=host/app"},
	}
	for want, args := range cases {
		if err := mustParse(t, Env{}, args...).CheckBundle(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestDefaultsAreWerfs(t *testing.T) {
	o := mustParse(t, Env{}).WithDefaults()
	if o.Tag != "latest" || o.Namespace != "default" || o.HistoryMax != 5 || o.StatusPeriodSeconds != 5 {
		t.Errorf("got %+v", o)
	}
	if o.Timeout() != forever {
		t.Errorf("no timeout means for ever, got %s", o.Timeout())
	}
}

func TestTheEnvironmentIsReadAndFlagsWin(t *testing.T) {
	env := NewEnv([]string{"WERF_REPO=host/env", "WERF_TAG=v2", "WERF_TIMEOUT=7", "WERF_ATOMIC=true", "DOCKER_CONFIG=/d"})
	o := mustParse(t, env, "--tag=v3")
	if o.Repo != "host/env" || o.Tag != "v3" || o.TimeoutSeconds != 7 || !o.AutoRollback || o.DockerConfig != "/d" {
		t.Errorf("got %+v", o)
	}
}

func TestAServiceVariableIsTakenForAValuesFile(t *testing.T) {
	o := mustParse(t, Env{"WERF_VALUES_SERVICE_HOST": "10.0.0.1"})
	if _, err := o.Values.Merge(); err == nil {
		t.Error("the real werf fails here too")
	}
}

func TestLaterKindsOfValuesWin(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first := write("first.yaml", "a: file1\nb: file1\nz: file1\n")
	second := write("second.yaml", "b: file2\nc: file2\nd: file2\ne: file2\nf: file2\ng: file2\n")
	content := write("content", "from file")
	args := []string{
		"--set-literal=g=literal, with {commas}", "--set-file=f=" + content, "--set-file=g=" + content,
		"--set-string=e=1,f=1,g=1", "--set=d=1,e=2,f=2,g=2", `--set-json=c={"x":1}`, `--set-json=d="json"`,
		"--values=" + first, "--values=" + second,
	}
	got, err := mustParse(t, Env{}, args...).Values.Merge()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"a": "file1", "b": "file2", "c": map[string]any{"x": float64(1)}, "d": int64(1), "e": "1",
		"f": "from file", "g": "literal, with {commas}", "z": "file1",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
}

func TestValuesFromAnAddressAreRefused(t *testing.T) {
	if _, err := mustParse(t, Env{}, "--values=https://host/values.yaml").Values.Merge(); err == nil {
		t.Error("was accepted")
	}
}
