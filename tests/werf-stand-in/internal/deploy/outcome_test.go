package deploy

import (
	"errors"
	"testing"
)

func TestTheOperationNamedByTheErrorIsTheOneThatFailed(t *testing.T) {
	made := &plan{operations: []operation{
		{verb: "Recreate", name: "Job/before"},
		{verb: "Recreate", name: "Job/migrate"},
	}}
	report := &Report{}
	report.sortOut(made, marks{}, errors.New(`jobs.batch "migrate" is forbidden`))
	if len(report.FailedOperations) != 1 || report.FailedOperations[0] != "recreate: Job/migrate" {
		t.Errorf("failed: %v", report.FailedOperations)
	}
	if len(report.CanceledOperations) != 1 || len(report.CompletedOperations) != 0 {
		t.Errorf("got %+v", report)
	}
}

func TestAFailureNobodyIsBlamedForFallsOnTheFirst(t *testing.T) {
	report := &Report{}
	report.sortOut(&plan{operations: []operation{{verb: "Recreate", name: "Job/a"}, {verb: "Recreate", name: "Job/b"}}}, marks{}, errors.New("no"))
	if len(report.FailedOperations) != 1 || len(report.CanceledOperations) != 1 {
		t.Errorf("got %+v", report)
	}
}
