package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func runTag(t *testing.T, tag string) (string, int, time.Duration) {
	t.Helper()
	steps, err := parse(tag)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	var slept time.Duration
	code := perform(steps, &out, func(d time.Duration) { slept += d })
	return out.String(), code, slept
}

func TestAVersionAloneSucceedsSilently(t *testing.T) {
	if out, code, _ := runTag(t, "v1.2.3"); code != 0 || out != "" {
		t.Errorf("got %d, %q", code, out)
	}
}

func TestStepsRunInOrder(t *testing.T) {
	out, code, slept := runTag(t, "v1.2.3-canaryTWEET.slow2s.exit3.log1k")
	if code != 3 || slept != 2*time.Second {
		t.Errorf("got code %d after %s", code, slept)
	}
	if !strings.Contains(out, "\nTWEET\n") || strings.Contains(out, "00000001") {
		t.Errorf("got %q", out)
	}
}

func TestLogsHaveTheSizeAskedFor(t *testing.T) {
	if out, _, _ := runTag(t, "1.0.0-log2m"); len(out) < 2<<20 || len(out) > 2<<20+200 {
		t.Errorf("got %d bytes", len(out))
	}
	if out, _, _ := runTag(t, "1.0.0-line3k"); len(out) != 3<<10+1 {
		t.Errorf("got %d bytes", len(out))
	}
}

func TestAWrongUnitIsRefused(t *testing.T) {
	for _, tag := range []string{"slow3k", "slow3", "exit3s", "log5s"} {
		if _, err := parse(tag); err == nil {
			t.Errorf("%s was accepted", tag)
		}
	}
}

func TestTheTagIsFoundInBothSpellings(t *testing.T) {
	for _, args := range [][]string{{"bundle", "apply", "--tag=v1"}, {"--tag", "v1"}} {
		if got, err := tag(args); err != nil || got != "v1" {
			t.Errorf("%v: %q %v", args, got, err)
		}
	}
}
