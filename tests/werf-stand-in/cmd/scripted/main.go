// Command scripted takes the place of werf where a test needs the deploy container itself to
// behave in a certain way: to exit with a code werf never uses, to be killed for its memory, to
// take long, to print much. What it does is spelled out in the bundle's tag; see script.go. A tag
// that spells out nothing is left to the program called werf-beside, where the image has one.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"werf.io/operator/tests/werf-stand-in/internal/bundle"
)

const terminated = 128 + int(syscall.SIGTERM)

func main() {
	tag, err := tag(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "Error: %s\n", err)
		os.Exit(1)
	}
	steps, err := parse(tag)
	if err != nil {
		fmt.Fprintf(os.Stderr, "Error: %s\n", err)
		os.Exit(1)
	}
	if beside, err := exec.LookPath("werf-beside"); err == nil && len(steps) == 0 {
		err := syscall.Exec(beside, append([]string{"werf"}, os.Args[1:]...), os.Environ())
		fmt.Fprintf(os.Stderr, "Error: cannot run %s: %s\n", beside, err)
		os.Exit(1)
	}
	// Process 1 of a container is not ended by SIGTERM unless it asks for that.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	deaf := has(steps, "deaf")
	go func() {
		for range signals {
			if !deaf {
				os.Exit(terminated)
			}
			fmt.Println("scripted: deaf to SIGTERM")
		}
	}()
	fmt.Printf("scripted: called with %d arguments\n", len(os.Args)-1)
	os.Exit(perform(steps, os.Stdout, time.Sleep))
}

// tag finds the bundle's tag. A bundle that is named by its digest is asked for its chart
// version, which is the tag.
func tag(args []string) (string, error) {
	repo, tag := flag(args, "--repo"), flag(args, "--tag")
	if !strings.HasSuffix(repo, "@sha256") {
		return tag, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	config, err := bundle.Config(ctx, bundle.Source{
		Repo:          repo,
		Tag:           tag,
		PlainHTTP:     contains(args, "--insecure-registry"),
		SkipTLSVerify: contains(args, "--skip-tls-verify-registry"),
		DockerConfig:  os.Getenv("DOCKER_CONFIG"),
	})
	if err != nil {
		return "", err
	}
	var chart struct{ Version string }
	if err := json.Unmarshal(config, &chart); err != nil {
		return "", fmt.Errorf("cannot read the bundle's config: %w", err)
	}
	return chart.Version, nil
}

func flag(args []string, name string) string {
	for index, arg := range args {
		if value, found := strings.CutPrefix(arg, name+"="); found {
			return value
		}
		if arg == name && index+1 < len(args) {
			return args[index+1]
		}
	}
	return ""
}

func contains(args []string, wanted string) bool {
	for _, arg := range args {
		if arg == wanted {
			return true
		}
	}
	return false
}
