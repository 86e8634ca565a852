package bundle

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Nothing a chart needs is near these sizes; they keep a hostile registry from filling memory.
const (
	maxManifest = 4 << 20
	maxBlob     = 64 << 20
)

// Source says where bundles come from and how to get in.
type Source struct {
	Repo, Tag     string
	PlainHTTP     bool
	SkipTLSVerify bool
	// DockerConfig is the directory of config.json; empty means `.docker` in the home directory.
	DockerConfig string
}

// Pull fetches the bundle and loads its chart.
func Pull(ctx context.Context, source Source) (*chart.Chart, error) {
	repository, manifest, err := source.manifest(ctx)
	if err != nil {
		return nil, err
	}
	layer, err := chartOf(manifest)
	if err != nil {
		return nil, source.failed(err)
	}
	archive, err := blob(ctx, repository, layer)
	if err != nil {
		return nil, source.failed(err)
	}
	loaded, err := loader.LoadArchive(bytes.NewReader(archive))
	if err != nil {
		return nil, source.failed(fmt.Errorf("cannot load the chart: %w", err))
	}
	return loaded, nil
}

// Config fetches only the manifest's config blob, which holds the chart's name and version.
func Config(ctx context.Context, source Source) ([]byte, error) {
	repository, manifest, err := source.manifest(ctx)
	if err != nil {
		return nil, err
	}
	parsed, err := parse(manifest)
	if err != nil {
		return nil, source.failed(err)
	}
	return blob(ctx, repository, parsed.Config)
}

func (s Source) manifest(ctx context.Context) (*remote.Repository, []byte, error) {
	ref, err := ParseReference(s.Repo, s.Tag)
	if err != nil {
		return nil, nil, err
	}
	client, err := s.client()
	if err != nil {
		return nil, nil, err
	}
	repository := &remote.Repository{
		Client:           client,
		Reference:        ref,
		PlainHTTP:        s.PlainHTTP || isLoopback(ref.Registry),
		MaxMetadataBytes: maxManifest,
	}
	_, body, err := repository.Manifests().FetchReference(ctx, ref.Reference)
	if err != nil {
		return nil, nil, s.failed(explain(err))
	}
	defer body.Close()
	manifest, err := io.ReadAll(io.LimitReader(body, maxManifest))
	if err != nil {
		return nil, nil, s.failed(err)
	}
	return repository, manifest, nil
}

func (s Source) failed(err error) error {
	return fmt.Errorf("unable to pull bundle %s:%s: %w", s.Repo, s.Tag, err)
}

func (s Source) client() (*auth.Client, error) {
	dir := s.DockerConfig
	if dir == "" {
		dir = filepath.Join(os.Getenv("HOME"), ".docker")
	}
	store, err := credentials.NewStore(filepath.Join(dir, "config.json"), credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("cannot read the docker config: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: s.SkipTLSVerify}
	return &auth.Client{
		Client:     &http.Client{Transport: transport},
		Cache:      auth.NewCache(),
		Credential: credentials.Credential(store),
	}, nil
}

func blob(ctx context.Context, repository *remote.Repository, descriptor ocispec.Descriptor) ([]byte, error) {
	if descriptor.Size > maxBlob {
		return nil, fmt.Errorf("blob of %d bytes is too large", descriptor.Size)
	}
	reader, err := repository.Blobs().Fetch(ctx, descriptor)
	if err != nil {
		if errors.Is(err, errdef.ErrNotFound) {
			return nil, errors.New("blob not found")
		}
		return nil, explain(err)
	}
	defer reader.Close()
	return content.ReadAll(reader, descriptor)
}

// explain puts werf's words on the two answers people meet most.
func explain(err error) error {
	denied := errors.New("pull access denied, repository does not exist or may require authorization")
	if errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return denied
	}
	var answer *errcode.ErrorResponse
	if errors.As(err, &answer) {
		switch answer.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return denied
		case http.StatusNotFound:
			return errors.New("not found")
		}
	}
	if errors.Is(err, errdef.ErrNotFound) {
		return errors.New("not found")
	}
	return err
}
