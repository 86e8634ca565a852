package options

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	"helm.sh/helm/v4/pkg/cli/values"
	"helm.sh/helm/v4/pkg/getter"
)

// ways is the six ways to set chart values.
type ways struct {
	Files, JSON, Typed, Strings, FromFiles, Literals []string
}

// Values is what the flags say, and what the environment says before them.
type Values struct {
	ways
	env ways
}

func (v *Values) bind(f *pflag.FlagSet, env Env) {
	f.StringArrayVar(&v.Files, "values", nil, "values file; the later wins")
	f.StringArrayVar(&v.JSON, "set-json", nil, "key=JSON")
	f.StringArrayVar(&v.Typed, "set", nil, "key=value, typed")
	f.StringArrayVar(&v.Strings, "set-string", nil, "key=value, always a string")
	f.StringArrayVar(&v.FromFiles, "set-file", nil, "key=path of a file that holds the value")
	f.StringArrayVar(&v.Literals, "set-literal", nil, "key=value, taken as it is")
	v.env = ways{
		Files:     env.List("WERF_VALUES_"),
		JSON:      env.List("WERF_SET_JSON_"),
		Strings:   env.List("WERF_SET_STRING_"),
		FromFiles: env.List("WERF_SET_FILE_"),
		Literals:  env.List("WERF_SET_LITERAL_"),
		// The real werf reads WERF_SET_JSON_* and WERF_SET_LITERAL_* a second time as --set.
		Typed: env.List("WERF_SET_", "WERF_SET_STRING_", "WERF_SET_FILE_", "WERF_SET_DOCKER_CONFIG_"),
	}
}

// Merge gives the values of the run. Later kinds win over earlier ones: files, JSON, typed,
// strings, files as values, literals; that is werf's order and Helm's.
func (v *Values) Merge() (map[string]any, error) {
	merged := values.Options{
		ValueFiles:    append(v.env.Files, v.Files...),
		JSONValues:    append(v.env.JSON, v.JSON...),
		Values:        append(v.env.Typed, v.Typed...),
		StringValues:  append(v.env.Strings, v.Strings...),
		FileValues:    append(v.env.FromFiles, v.FromFiles...),
		LiteralValues: append(v.env.Literals, v.Literals...),
	}
	for _, file := range merged.ValueFiles {
		if strings.Contains(file, "://") {
			return nil, fmt.Errorf("the stand-in reads values from files only, not from %q", file)
		}
	}
	return merged.MergeValues(getter.Providers{})
}
