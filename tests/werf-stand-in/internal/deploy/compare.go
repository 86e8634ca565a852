package deploy

import (
	"context"

	"werf.io/operator/tests/werf-stand-in/internal/options"
)

// Difference is what `bundle plan` found.
type Difference int

// The answers of `bundle plan`.
const (
	Same Difference = iota
	Changes
	RecordOnly
)

// Plan compares the bundle with the cluster: `werf bundle plan`. It takes no lock.
func Plan(ctx context.Context, o *options.Options) (Difference, error) {
	ready, err := prepare(ctx, o)
	if err != nil {
		return Same, err
	}
	cluster, err := Connect(o)
	if err != nil {
		return Same, err
	}
	known, err := cluster.history(o.Release)
	if err != nil {
		return Same, err
	}
	rendered, err := cluster.render(ctx, o, ready, known.last != nil)
	if err != nil {
		return Same, err
	}
	made, err := cluster.plan(ctx, rendered, known, ready.marks)
	if err != nil {
		return Same, err
	}
	if made.empty() {
		say("No changes planned for release %q (namespace: %q)", o.Release, o.Namespace)
		return Same, nil
	}
	made.print(o.Release, o.Namespace)
	if made.recordOnly {
		return RecordOnly, nil
	}
	return Changes, nil
}
