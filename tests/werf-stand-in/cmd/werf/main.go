// Command werf is a stand-in for werf in the local cluster. It is not werf: see the README.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"werf.io/operator/tests/werf-stand-in/internal/deploy"
	"werf.io/operator/tests/werf-stand-in/internal/options"
)

// standsInFor is the release whose arguments and answers this program follows.
const standsInFor = "v2.75.3"

const notice = "This is a stand-in for werf, made for the tests of the werf operator. It is not werf."

// exit carries an exit code that is not an error.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	guard := newGuard()
	err := command(options.NewEnv(os.Environ()), guard).ExecuteContext(context.Background())
	var code exit
	switch {
	case errors.As(err, &code):
		os.Exit(int(code))
	case err != nil:
		fmt.Fprintf(os.Stderr, "Error: %s\n", err)
		os.Exit(1)
	}
}

func command(env options.Env, guard *guard) *cobra.Command {
	root := &cobra.Command{
		Use:           "werf",
		Short:         notice,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	bundle := &cobra.Command{Use: "bundle", Short: "Work with bundles"}
	bundle.AddCommand(apply(env, guard), plan(env))
	root.AddCommand(bundle, dismiss(env, guard), version())
	for _, group := range []*cobra.Command{root, bundle} {
		group.Args = cobra.NoArgs
		group.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	return root
}

func apply(env options.Env, guard *guard) *cobra.Command {
	o := &options.Options{}
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Deploy a bundle",
		Long:  "Deploy a bundle.\n\n" + notice,
		// The real one pays no attention to positional arguments either.
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.CheckBundle(); err != nil {
				return err
			}
			return deploy.Apply(cmd.Context(), o.WithDefaults(), guard)
		},
	}
	o.BindCommon(cmd.Flags(), env)
	o.BindBundle(cmd.Flags(), env)
	o.BindApply(cmd.Flags(), env)
	return cmd
}

func plan(env options.Env) *cobra.Command {
	o := &options.Options{}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Compare a bundle with the cluster",
		Long:  "Compare a bundle with the cluster.\n\n" + notice,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.CheckBundle(); err != nil {
				return err
			}
			found, err := deploy.Plan(cmd.Context(), o.WithDefaults())
			if err != nil {
				return err
			}
			return planExit(o, found)
		},
	}
	o.BindCommon(cmd.Flags(), env)
	o.BindBundle(cmd.Flags(), env)
	o.BindPlan(cmd.Flags(), env)
	return cmd
}

// planExit is the exit code of `plan`: 2 for changes, and 3 when only the release record would
// change and the caller asked to be told apart.
func planExit(o *options.Options, found deploy.Difference) error {
	switch {
	case !o.ExitCode || found == deploy.Same:
		return nil
	case found == deploy.RecordOnly && o.DetailedExitCode:
		return exit(3)
	}
	return exit(2)
}

func dismiss(env options.Env, guard *guard) *cobra.Command {
	o := &options.Options{}
	cmd := &cobra.Command{
		Use:   "dismiss",
		Short: "Remove a release",
		Long:  "Remove a release.\n\n" + notice,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.CheckRelease(); err != nil {
				return err
			}
			return deploy.Dismiss(cmd.Context(), o.WithDefaults(), guard)
		},
	}
	o.BindCommon(cmd.Flags(), env)
	o.BindDismiss(cmd.Flags(), env)
	return cmd
}

func version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		RunE: func(*cobra.Command, []string) error {
			fmt.Printf("%s+stand-in (helm %s)\n%s\n", standsInFor, helmVersion(), notice)
			return nil
		},
	}
}

func helmVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "helm.sh/helm/v4" {
				return module.Version
			}
		}
	}
	return "unknown"
}
