// Package bundle fetches a bundle from its registry and checks that it is one.
package bundle

import (
	"fmt"
	"net"

	"oras.land/oras-go/v2/registry"
)

// ParseReference joins repository and tag exactly as werf does: with a colon, nothing more. So
// `HOST/PATH@sha256` with 64 hex digits as the tag names a digest, and `oci://…` or `…:tag` in
// the repository make no reference at all.
func ParseReference(repo, tag string) (registry.Reference, error) {
	joined := repo + ":" + tag
	ref, err := registry.ParseReference(joined)
	if err != nil {
		return registry.Reference{}, fmt.Errorf("could not parse reference: %w", err)
	}
	if ref.Reference == "" {
		return registry.Reference{}, fmt.Errorf("could not parse reference: %q has no tag", joined)
	}
	return ref, nil
}

// isLoopback tells whether the registry is on this machine, which is spoken to without TLS.
func isLoopback(hostPort string) bool {
	host := hostPort
	if name, _, err := net.SplitHostPort(hostPort); err == nil {
		host = name
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
