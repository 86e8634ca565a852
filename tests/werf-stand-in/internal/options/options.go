// Package options reads the arguments and the environment the way the real werf does: the same
// flag names, the same WERF_* variables, the same messages for what is missing.
package options

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
)

// forever stands for `--timeout=0`, with which werf tracks for as long as it takes.
const forever = 365 * 24 * time.Hour

// Options is what one run was asked to do.
type Options struct {
	Repo, Tag          string
	Release, Namespace string
	Env                string

	TimeoutSeconds int
	AutoRollback   bool
	HistoryMax     int
	Values         Values

	InsecureRegistry      bool
	SkipTLSVerifyRegistry bool
	DockerConfig          string

	NoCreateNamespace bool
	ForceAdoption     bool
	NoNotes           bool
	SecretKey         string
	IgnoreSecretKey   bool

	StatusPeriodSeconds int
	SaveReport          bool
	ReportPath          string

	AddAnnotations, AddLabels         []string
	RuntimeAnnotations, RuntimeLabels []string

	// ExitCode makes `plan` answer 2 when there are changes.
	ExitCode bool
	// DetailedExitCode makes `plan` answer 3 when only the release record would change.
	DetailedExitCode bool

	WithNamespace     bool
	WithHooks         bool
	DeletePropagation string

	Kube Kube
}

// Kube names the cluster; all empty means the one the process runs in.
type Kube struct {
	Config, Context, Token, Server, CA string
	SkipTLSVerify                      bool
}

// Timeout is how long each step of the deploy may take.
func (o *Options) Timeout() time.Duration {
	if o.TimeoutSeconds <= 0 {
		return forever
	}
	return time.Duration(o.TimeoutSeconds) * time.Second
}

// CheckBundle refuses what `bundle apply` and `bundle plan` cannot work without.
func (o *Options) CheckBundle() error {
	if o.Repo == "" {
		return errors.New("--repo=ADDRESS param required")
	}
	return o.CheckRelease()
}

// CheckRelease refuses a run without a release name; werf has no default for it.
func (o *Options) CheckRelease() error {
	if o.Release == "" {
		return errors.New("--release=RELEASE param required")
	}
	if o.StatusPeriodSeconds < -1 {
		return fmt.Errorf("bad --status-progress-period %d", o.StatusPeriodSeconds)
	}
	return nil
}

// BindCommon defines the flags every command has.
func (o *Options) BindCommon(f *pflag.FlagSet, env Env) {
	f.StringVar(&o.Release, "release", env.String("WERF_RELEASE", ""), "name of the release (required)")
	f.StringVar(&o.Namespace, "namespace", env.String("WERF_NAMESPACE", ""), "namespace of the release; `default` when empty")
	f.StringVar(&o.Env, "env", env.String("WERF_ENV", ""), "name of the environment")
	f.IntVarP(&o.TimeoutSeconds, "timeout", "t", env.Int("WERF_TIMEOUT", 0), "seconds to wait for resources, 0 for ever")
	f.IntVar(&o.StatusPeriodSeconds, "status-progress-period", env.Int("WERF_STATUS_PROGRESS_PERIOD_SECONDS", 5), "seconds between progress tables, -1 for none")
	f.IntVar(&o.HistoryMax, "releases-history-max", env.Int("WERF_RELEASES_HISTORY_MAX", 5), "how many revisions to keep")
	f.StringVar(&o.DockerConfig, "docker-config", env.String("WERF_DOCKER_CONFIG", env.String("DOCKER_CONFIG", "")), "directory of config.json")

	f.StringVar(&o.Kube.Config, "kube-config", env.String("WERF_KUBE_CONFIG", ""), "path of a kubeconfig")
	f.StringVar(&o.Kube.Context, "kube-context", env.String("WERF_KUBE_CONTEXT", ""), "context in the kubeconfig")
	f.StringVar(&o.Kube.Token, "kube-token", env.String("WERF_KUBE_TOKEN", ""), "bearer token")
	f.StringVar(&o.Kube.Server, "kube-api-server", env.String("WERF_KUBE_API_SERVER", ""), "address of the API server")
	f.StringVar(&o.Kube.CA, "kube-ca-path", env.String("WERF_KUBE_CA_PATH", ""), "certificate authority of the API server")
	f.BoolVar(&o.Kube.SkipTLSVerify, "skip-tls-verify-kube", env.Bool("WERF_SKIP_TLS_VERIFY_KUBE"), "do not verify the API server")
	bindWithoutEffect(f, commonWithoutEffect)
}

// BindBundle defines the flags `bundle apply` and `bundle plan` share.
func (o *Options) BindBundle(f *pflag.FlagSet, env Env) {
	f.StringVar(&o.Repo, "repo", env.String("WERF_REPO", ""), "HOST/PATH of the bundle (required)")
	f.StringVar(&o.Tag, "tag", env.String("WERF_TAG", "latest"), "exact tag of the bundle")
	f.BoolVar(&o.InsecureRegistry, "insecure-registry", env.Bool("WERF_INSECURE_REGISTRY"), "use plain HTTP")
	f.BoolVar(&o.SkipTLSVerifyRegistry, "skip-tls-verify-registry", env.Bool("WERF_SKIP_TLS_VERIFY_REGISTRY"), "do not verify the registry")
	f.BoolVar(&o.NoCreateNamespace, "no-create-namespace", env.Bool("WERF_NO_CREATE_NAMESPACE"), "never create the namespace")
	f.BoolVar(&o.ForceAdoption, "force-adoption", env.Bool("WERF_FORCE_ADOPTION"), "take over resources of other releases")
	f.BoolVar(&o.NoNotes, "no-notes", env.Bool("WERF_NO_NOTES"), "do not print the chart's notes")
	f.StringArrayVar(&o.AddAnnotations, "add-annotation", env.List("WERF_ADD_ANNOTATION_"), "key=value for every resource")
	f.StringArrayVar(&o.AddLabels, "add-label", env.List("WERF_ADD_LABEL_"), "key=value for every resource")
	f.StringSliceVar(&o.RuntimeAnnotations, "runtime-annotations", env.Words("WERF_RUNTIME_ANNOTATIONS"), "key=value,… that never cause an update by themselves")
	f.StringSliceVar(&o.RuntimeLabels, "runtime-labels", env.Words("WERF_RUNTIME_LABELS"), "key=value,… that never cause an update by themselves")
	f.BoolVar(&o.IgnoreSecretKey, "ignore-secret-key", env.Bool("WERF_IGNORE_SECRET_KEY"), "leave secret values encrypted")
	f.StringVar(&o.SecretKey, "secret-key", env.String("WERF_SECRET_KEY", ""), "key of the bundle's secret values")
	o.Values.bind(f, env)
	bindWithoutEffect(f, bundleWithoutEffect)
}

// BindApply defines what only `bundle apply` knows.
func (o *Options) BindApply(f *pflag.FlagSet, env Env) {
	rollback := env.Bool("WERF_AUTO_ROLLBACK") || env.Bool("WERF_ATOMIC")
	f.BoolVarP(&o.AutoRollback, "auto-rollback", "R", rollback, "go back to the last good revision on failure")
	f.BoolVar(&o.AutoRollback, "atomic", rollback, "the same as --auto-rollback")
	f.BoolVar(&o.SaveReport, "save-deploy-report", env.Bool("WERF_SAVE_DEPLOY_REPORT"), "write the deploy report")
	f.StringVar(&o.ReportPath, "deploy-report-path", env.String("WERF_DEPLOY_REPORT_PATH", ".werf-deploy-report.json"), "where to write it")
}

// BindPlan defines what only `bundle plan` knows.
func (o *Options) BindPlan(f *pflag.FlagSet, env Env) {
	f.BoolVar(&o.ExitCode, "exit-code", env.Bool("WERF_EXIT_CODE"), "exit with 2 when there are changes")
	o.DetailedExitCode = env.Bool("NELM_FEAT_MORE_DETAILED_EXIT_CODE_FOR_PLAN")
	bindWithoutEffect(f, planWithoutEffect)
}

// BindDismiss defines what only `dismiss` knows.
func (o *Options) BindDismiss(f *pflag.FlagSet, env Env) {
	f.BoolVar(&o.WithNamespace, "with-namespace", env.Bool("WERF_WITH_NAMESPACE"), "delete the namespace too")
	f.BoolVar(&o.WithHooks, "with-hooks", true, "delete the hooks too")
	f.StringVar(&o.DeletePropagation, "delete-propagation", env.String("WERF_DELETE_PROPAGATION", "Foreground"), "how dependents are deleted")
}

// WithDefaults fills in what werf fills in. The namespace of the Pod is not looked at.
func (o *Options) WithDefaults() *Options {
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	return o
}
