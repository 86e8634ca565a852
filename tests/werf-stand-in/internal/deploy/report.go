package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

const reportVersion = 3

// Report is the deploy report werf writes for `--save-deploy-report`. Its operations are sorted, and
// worded as those of nelm are (OperationIDHuman in pkg/plan/operation.go, IDHuman in
// pkg/resource/spec/resource_meta.go): "track readiness: Deployment/app (namespace=prod)".
type Report struct {
	Version             int      `json:"version,omitempty"`
	Release             string   `json:"release,omitempty"`
	Namespace           string   `json:"namespace,omitempty"`
	Revision            int      `json:"revision,omitempty"`
	Status              string   `json:"status,omitempty"`
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
	for _, operations := range [][]string{r.CompletedOperations, r.CanceledOperations, r.FailedOperations} {
		slices.Sort(operations)
	}
	// As nelm does (saveReport in pkg/action/common.go), tabs included: the kubelet keeps 4096 bytes.
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("cannot write the deploy report: %w", err)
	}
	return nil
}
