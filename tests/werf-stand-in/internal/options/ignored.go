package options

import "github.com/spf13/pflag"

// withoutEffect lists flags of the real werf that are accepted and change nothing here, mostly
// because they tune output or caches this program does not have.
type withoutEffect struct {
	bools, strings, ints []string
}

var commonWithoutEffect = withoutEffect{
	bools: []string{"log-debug", "log-pretty", "log-project-dir", "log-quiet", "log-time", "log-verbose", "loose-giterminism"},
	strings: []string{
		"dir", "home-dir", "kube-config-base64", "log-color-mode", "log-time-format", "release-storage",
		"release-storage-sql-connection", "repo-container-registry", "tmp-dir",
	},
	ints: []string{"hooks-status-progress-period", "kube-burst-limit", "kube-qps-limit", "log-terminal-width", "network-parallelism"},
}

var bundleWithoutEffect = withoutEffect{
	bools: []string{
		"disable-default-values", "disable-default-secret-values", "no-final-tracking", "no-install-crds", "no-pod-logs",
		"no-remove-manual-changes", "render-subchart-notes", "skip-dependencies-repo-refresh",
	},
	strings: []string{"delete-propagation", "deploy-graph-path", "kube-version", "render-output", "rollback-graph-path", "secret-values"},
}

var planWithoutEffect = withoutEffect{
	bools: []string{"show-insignificant-diffs", "show-sensitive-diffs", "show-verbose-crd-diffs", "show-verbose-diffs"},
	ints:  []string{"diff-context-lines"},
}

func bindWithoutEffect(f *pflag.FlagSet, set withoutEffect) {
	const usage = "accepted, without effect here"
	for _, name := range set.bools {
		short := ""
		if name == "skip-dependencies-repo-refresh" {
			short = "L"
		}
		f.BoolP(name, short, false, usage)
	}
	for _, name := range set.strings {
		f.String(name, "", usage)
	}
	for _, name := range set.ints {
		f.Int(name, 0, usage)
	}
}
