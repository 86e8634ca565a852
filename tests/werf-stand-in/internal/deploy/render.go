package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/postrenderer"
	release "helm.sh/helm/v4/pkg/release/v1"

	"werf.io/operator/tests/werf-stand-in/internal/bundle"
	"werf.io/operator/tests/werf-stand-in/internal/options"
)

// work is a bundle with everything needed to deploy it.
type work struct {
	chart  *chart.Chart
	values map[string]any
	marks  marks
}

// prepare pulls the bundle and puts its values and marks together. It needs no cluster.
func prepare(ctx context.Context, o *options.Options) (*work, error) {
	loaded, err := bundle.Pull(ctx, bundle.Source{
		Repo:          o.Repo,
		Tag:           o.Tag,
		PlainHTTP:     o.InsecureRegistry,
		SkipTLSVerify: o.SkipTLSVerifyRegistry,
		DockerConfig:  o.DockerConfig,
	})
	if err != nil {
		return nil, err
	}
	say("Pulled bundle %s:%s (chart %s %s)", o.Repo, o.Tag, loaded.Name(), loaded.Metadata.Version)
	if err := checkSupported(loaded, o); err != nil {
		return nil, err
	}
	given, err := o.Values.Merge()
	if err != nil {
		return nil, err
	}
	added, err := collectMarks(loaded, o)
	if err != nil {
		return nil, err
	}
	return &work{chart: loaded, values: loader.MergeMaps(serviceValues(o), given), marks: added}, nil
}

func checkSupported(loaded *chart.Chart, o *options.Options) error {
	if len(loaded.CRDObjects()) > 0 {
		return errors.New("the stand-in does not install charts with a crds directory")
	}
	for _, file := range loaded.Files {
		if file.Name == "secret-values.yaml" && !o.IgnoreSecretKey {
			if o.SecretKey == "" {
				return errors.New("unable to decode secret values: encryption key not found")
			}
			return errors.New("the stand-in cannot decode secret values")
		}
	}
	return nil
}

// serviceValues are those werf adds by itself; given values win over them.
func serviceValues(o *options.Options) map[string]any {
	werf := map[string]any{"namespace": o.Namespace}
	global := map[string]any{"werf": map[string]any{}}
	if o.Env != "" {
		werf["env"] = o.Env
		global["env"] = o.Env
	}
	return map[string]any{"werf": werf, "global": global}
}

// render produces the manifests without changing anything in the cluster.
func (c *Cluster) render(ctx context.Context, o *options.Options, w *work, upgrade bool) (*release.Release, error) {
	install := action.NewInstall(c.helm)
	install.ReleaseName = o.Release
	install.Namespace = o.Namespace
	install.DryRunStrategy = action.DryRunServer
	install.IsUpgrade = upgrade
	install.TakeOwnership = o.ForceAdoption
	install.DisableOpenAPIValidation = true
	install.PostRenderer = w.marks.renderer()
	copied, err := copyValues(w.values)
	if err != nil {
		return nil, err
	}
	rendered, err := asRelease(install.RunWithContext(ctx, w.chart, copied))
	if err != nil {
		return nil, fmt.Errorf("unable to render the chart: %w", err)
	}
	return rendered, nil
}

// copyValues protects the values from Helm, which changes what it is given.
func copyValues(values map[string]any) (map[string]any, error) {
	data, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	copied := map[string]any{}
	err = json.Unmarshal(data, &copied)
	return copied, err
}

// marks are annotations and labels for every resource.
type marks struct {
	annotations, labels map[string]string
	// runtime marks never cause an update by themselves.
	runtimeAnnotations, runtimeLabels map[string]string
}

func collectMarks(loaded *chart.Chart, o *options.Options) (marks, error) {
	all := marks{annotations: map[string]string{}, labels: map[string]string{}}
	for _, file := range loaded.Files {
		var into map[string]string
		switch file.Name {
		case "extra_annotations.json":
			into = all.annotations
		case "extra_labels.json":
			into = all.labels
		default:
			continue
		}
		if err := json.Unmarshal(file.Data, &into); err != nil {
			return all, fmt.Errorf("cannot read %s of the bundle: %w", file.Name, err)
		}
	}
	if o.Env != "" {
		all.annotations["project.werf.io/env"] = o.Env
	}
	added, err := pairs("--add-annotation", o.AddAnnotations)
	if err != nil {
		return all, err
	}
	maps.Copy(all.annotations, added)
	if added, err = pairs("--add-label", o.AddLabels); err != nil {
		return all, err
	}
	maps.Copy(all.labels, added)
	if all.runtimeAnnotations, err = pairs("--runtime-annotations", o.RuntimeAnnotations); err != nil {
		return all, err
	}
	all.runtimeLabels, err = pairs("--runtime-labels", o.RuntimeLabels)
	return all, err
}

func (m marks) renderer() postrenderer.PostRenderer {
	if len(m.annotations)+len(m.labels)+len(m.runtimeAnnotations)+len(m.runtimeLabels) == 0 {
		return nil
	}
	return m
}
