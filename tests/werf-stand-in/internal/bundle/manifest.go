package bundle

import (
	"encoding/json"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// bundleLayer is the media type `werf bundle publish` gives the chart.
	bundleLayer = "application/tar+gzip"
	// chartLayer is the media type `helm push` gives the chart.
	chartLayer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// chartOf finds the one layer that is the chart. The type of the config is not looked at.
func chartOf(manifest []byte) (ocispec.Descriptor, error) {
	parsed, err := parse(manifest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if count := len(parsed.Layers); count != 1 {
		return ocispec.Descriptor{}, fmt.Errorf("manifest does not contain exactly 1 layer (total: %d)", count)
	}
	layer := parsed.Layers[0]
	if layer.MediaType != bundleLayer && layer.MediaType != chartLayer {
		return ocispec.Descriptor{}, fmt.Errorf("manifest does not contain a layer with mediatype %s", bundleLayer)
	}
	return layer, nil
}

func parse(manifest []byte) (ocispec.Manifest, error) {
	var parsed ocispec.Manifest
	if err := json.Unmarshal(manifest, &parsed); err != nil {
		return parsed, fmt.Errorf("cannot read the manifest: %w", err)
	}
	return parsed, nil
}
