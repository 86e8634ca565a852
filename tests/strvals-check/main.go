// strvals-check reads one JSON object per line, {"file": YAML, "arguments": [...]}, and answers
// each with one line: the document that Helm makes of them, or {"error": ...}. The tests of the
// executor compare it with what they meant.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"
)

type values struct {
	File      string   `json:"file"`
	Arguments []string `json:"arguments"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var line values
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		merged, err := merge(line)
		if err != nil {
			out.Encode(map[string]string{"error": err.Error()})
			continue
		}
		out.Encode(map[string]any{"values": merged})
	}
}

// merge does what Helm's pkg/cli/values does, without its readers of URLs.
func merge(line values) (map[string]any, error) {
	merged := map[string]any{}
	if err := yaml.Unmarshal([]byte(line.File), &merged); err != nil {
		return nil, err
	}
	if merged == nil {
		merged = map[string]any{}
	}
	for _, step := range []struct {
		flag string
		set  func(string, map[string]any) error
	}{
		{"--set-json=", strvals.ParseJSON},
		{"--set=", strvals.ParseInto},
		{"--set-string=", strvals.ParseIntoString},
	} {
		for _, argument := range line.Arguments {
			if value, ok := strings.CutPrefix(argument, step.flag); ok {
				if err := step.set(value, merged); err != nil {
					return nil, err
				}
			}
		}
	}
	return merged, nil
}
