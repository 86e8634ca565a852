package bundle

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const hex64 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestTagAndDigestFormsAreReferences(t *testing.T) {
	cases := map[[2]string]string{
		{"host:5000/demo/app", "v1.0.0"}:       "v1.0.0",
		{"host:5000/demo/app@sha256", hex64}:   "sha256:" + hex64,
		{"registry.example.com/app", "latest"}: "latest",
	}
	for given, want := range cases {
		ref, err := ParseReference(given[0], given[1])
		if err != nil || ref.Reference != want {
			t.Errorf("%v: %q %v", given, ref.Reference, err)
		}
	}
}

func TestWhatWerfCannotParseIsRefused(t *testing.T) {
	for _, given := range [][2]string{
		{"host/app:v1", "latest"}, {"oci://host/app", "v1"}, {"docker://host/app", "v1"},
		{"host/app", "sha256:" + hex64}, {"host/app", "^1.0"}, {"host/app", ""}, {"host/app@sha256", "abc"},
	} {
		if _, err := ParseReference(given[0], given[1]); err == nil || !strings.HasPrefix(err.Error(), "could not parse reference") {
			t.Errorf("%v: %v", given, err)
		}
	}
}

func TestOnlyThisMachineIsSpokenToWithoutTLS(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1:5000": true, "localhost": true, "[::1]:5000": true, "10.0.0.1:5000": false, "registry.local": false,
	} {
		if isLoopback(host) != want {
			t.Errorf("%s", host)
		}
	}
}

func TestManifestRules(t *testing.T) {
	layer := func(kind string) string {
		return `{"mediaType":"` + kind + `","digest":"sha256:` + hex64 + `","size":0}`
	}
	cases := []struct{ name, layers, want string }{
		{"bundle", layer(bundleLayer), ""},
		{"helm push", layer(chartLayer), ""},
		{"provenance", layer(chartLayer) + "," + layer("application/vnd.cncf.helm.chart.provenance.v1.prov"), "exactly 1 layer (total: 2)"},
		{"image", layer("application/vnd.oci.image.layer.v1.tar+gzip"), "does not contain a layer with mediatype application/tar+gzip"},
		{"index", "", "exactly 1 layer (total: 0)"},
	}
	for _, c := range cases {
		_, err := chartOf([]byte(`{"schemaVersion":2,"layers":[` + c.layers + `]}`))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

func TestCredentialsComeFromTheDockerConfigAndErrorsAreWerfs(t *testing.T) {
	const userPass = "user:pass"
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(userPass))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != basic {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	dir := t.TempDir()
	source := Source{Repo: host + "/app", Tag: "v1", DockerConfig: dir}

	if _, err := Pull(context.Background(), source); err == nil || !strings.Contains(err.Error(), "pull access denied") {
		t.Errorf("without credentials: %v", err)
	}
	config := `{"auths":{"` + host + `":{"auth":"` + base64.StdEncoding.EncodeToString([]byte(userPass)) + `"}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Pull(context.Background(), source); err == nil || !strings.HasSuffix(err.Error(), ": not found") {
		t.Errorf("with credentials: %v", err)
	}
}

// The test can run only once in a process: the system's certificates are read once.
func TestAnAuthorityInSSLCertDirIsTrusted(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	dir := t.TempDir()
	// As the kubelet mounts a Secret.
	if err := os.Mkdir(filepath.Join(dir, "..2026"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "..2026", "ca.crt"), certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"..data": "..2026", "ca.crt": "..data/ca.crt"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SSL_CERT_DIR", "/etc/ssl/certs:"+dir)

	client, err := Source{DockerConfig: t.TempDir()}.client()
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
}
