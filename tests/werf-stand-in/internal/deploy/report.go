package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

const reportVersion = 3

// Report is the deploy report werf writes for `--save-deploy-report`.
type Report struct {
	Version             int      `json:"version"`
	Release             string   `json:"release"`
	Namespace           string   `json:"namespace"`
	Revision            int      `json:"revision"`
	Status              string   `json:"status"`
	CompletedOperations []string `json:"completedOperations,omitempty"`
	CanceledOperations  []string `json:"canceledOperations,omitempty"`
	FailedOperations    []string `json:"failedOperations,omitempty"`
}

// Save writes the report into the file itself, without a rename, so that a mounted single file
// such as a termination log receives it.
func (r *Report) Save(path string) error {
	if !strings.HasSuffix(path, ".json") {
		return fmt.Errorf("deploy report path %q must end in .json", path)
	}
	r.Version = reportVersion
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("cannot write the deploy report: %w", err)
	}
	return nil
}
