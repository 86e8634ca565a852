// Package deploy installs, upgrades, compares and removes releases in a cluster with Helm.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"werf.io/operator/tests/werf-stand-in/internal/options"
)

// fieldManager is the name werf writes under.
const fieldManager = "helm"

// Cluster is a connection to the cluster and to the releases of one namespace in it.
type Cluster struct {
	helm      *action.Configuration
	client    kubernetes.Interface
	namespace string
}

// Connect takes the cluster from the flags, from KUBECONFIG, or from the Pod it runs in.
func Connect(o *options.Options) (*Cluster, error) {
	kube.ManagedFieldsManager = fieldManager
	flags := genericclioptions.NewConfigFlags(true)
	// Left alone, the client would queue requests of a deploy for seconds.
	flags.WrapConfigFn = func(config *rest.Config) *rest.Config {
		config.QPS, config.Burst = 100, 200
		return config
	}
	flags.Namespace = &o.Namespace
	set := func(target **string, value string) {
		if value != "" {
			*target = &value
		}
	}
	set(&flags.KubeConfig, o.Kube.Config)
	set(&flags.Context, o.Kube.Context)
	set(&flags.BearerToken, o.Kube.Token)
	set(&flags.APIServer, o.Kube.Server)
	set(&flags.CAFile, o.Kube.CA)
	flags.Insecure = &o.Kube.SkipTLSVerify

	helm := action.NewConfiguration(action.ConfigurationSetLogger(slog.NewTextHandler(io.Discard, nil)))
	if err := helm.Init(flags, o.Namespace, "secrets"); err != nil {
		return nil, err
	}
	client, err := helm.KubernetesClientSet()
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the cluster: %w", err)
	}
	return &Cluster{helm: helm, client: client, namespace: o.Namespace}, nil
}

// say prints one line of progress. Standard output is what the Job's log shows.
func say(format string, args ...any) {
	fmt.Fprintln(os.Stdout, strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
}

// ensureNamespace tries to create the namespace only when the lock's ConfigMap cannot even be
// tried there, and leaves a refusal to the lock, whose message names what is missing.
func (c *Cluster) ensureNamespace(ctx context.Context) {
	body := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q}}`, lockConfigMap)
	force := true
	_, err := c.client.CoreV1().ConfigMaps(c.namespace).Patch(ctx, lockConfigMap, types.ApplyPatchType, []byte(body),
		metav1.PatchOptions{FieldManager: fieldManager, Force: &force, DryRun: []string{metav1.DryRunAll}})
	if !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}
	if _, err := c.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err == nil {
		say("Created namespace %q", c.namespace)
	}
}

// history is what the release's stored revisions say.
type history struct {
	// last is the newest revision, nil when there is none.
	last *release.Release
	// live is the revision whose resources are in the cluster: the deployed one, else the newest.
	live *release.Release
}

func (c *Cluster) history(name string) (history, error) {
	var known history
	last, err := asRelease(c.helm.Releases.Last(name))
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return known, nil
	}
	if err != nil {
		return known, fmt.Errorf("cannot read the history of release %q: %w", name, err)
	}
	known.last, known.live = last, last
	deployed, err := asRelease(c.helm.Releases.Deployed(name))
	switch {
	case err == nil:
		known.live = deployed
	case !errors.Is(err, driver.ErrNoDeployedReleases):
		return known, fmt.Errorf("cannot read the deployed revision of release %q: %w", name, err)
	}
	return known, nil
}

// closeInterrupted marks a revision that a killed run left open as failed. The lock is ours, so
// nobody is working on it any more.
func (c *Cluster) closeInterrupted(known history) error {
	last := known.last
	if last == nil || (!last.Info.Status.IsPending() && last.Info.Status != common.StatusUninstalling) {
		return nil
	}
	say("Revision %d was left %q by an interrupted run, going on", last.Version, last.Info.Status)
	last.SetStatus(common.StatusFailed, "Interrupted while "+last.Info.Status.String())
	if err := c.helm.Releases.Update(last); err != nil {
		return fmt.Errorf("cannot close interrupted revision %d: %w", last.Version, err)
	}
	return nil
}

// lastGood finds the newest revision before the given one that was once deployed.
func (c *Cluster) lastGood(name string, before int) (int, error) {
	stored, err := c.helm.Releases.History(name)
	if err != nil {
		return 0, err
	}
	good := 0
	for _, item := range stored {
		revision, err := asRelease(item, nil)
		if err != nil {
			return 0, err
		}
		status := revision.Info.Status
		once := status == common.StatusDeployed || status == common.StatusSuperseded
		if once && revision.Version < before && revision.Version > good {
			good = revision.Version
		}
	}
	return good, nil
}

func asRelease(stored any, err error) (*release.Release, error) {
	if err != nil {
		return nil, err
	}
	typed, ok := stored.(*release.Release)
	if !ok {
		return nil, fmt.Errorf("release is stored as %T", stored)
	}
	return typed, nil
}
