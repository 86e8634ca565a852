package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/resource"

	"werf.io/operator/tests/werf-stand-in/internal/options"
)

// statuses of the deploy report.
const (
	statusDeployed = "deployed"
	statusFailed   = "failed"
	statusSkipped  = "skipped"
)

// Guard receives what must be undone when the process is told to stop.
type Guard interface {
	// Hold keeps the lock until it is released, by the run or by a signal.
	Hold(lock *Lock)
	// Abort ends the process because the lock is lost.
	Abort(err error)
}

// Apply deploys the bundle: `werf bundle apply`.
func Apply(ctx context.Context, o *options.Options, guard Guard) error {
	ready, err := prepare(ctx, o)
	if err != nil {
		return err
	}
	cluster, err := Connect(o)
	if err != nil {
		return err
	}
	if !o.NoCreateNamespace {
		cluster.ensureNamespace(ctx)
	}
	lock, err := Acquire(ctx, cluster.client, o.Namespace, o.Release, guard.Abort)
	if err != nil {
		return err
	}
	guard.Hold(lock)
	defer lock.Release(context.WithoutCancel(ctx))

	say("Starting release %q (namespace: %q)", o.Release, o.Namespace)
	known, err := cluster.history(o.Release)
	if err != nil {
		return err
	}
	if err := cluster.closeInterrupted(known); err != nil {
		return err
	}
	rendered, err := cluster.render(ctx, o, ready, known.last != nil)
	if err != nil {
		return err
	}
	made, err := cluster.plan(ctx, rendered, known, ready.marks)
	if err != nil {
		return err
	}
	report := &Report{Release: o.Release, Namespace: o.Namespace}
	outcome := cluster.carryOut(ctx, o, ready, known, made, report)
	if o.SaveReport {
		if err := report.Save(o.ReportPath); err != nil {
			outcome = errors.Join(outcome, err)
		}
	}
	return outcome
}

func (c *Cluster) carryOut(ctx context.Context, o *options.Options, w *work, known history, made *plan, report *Report) error {
	if made.empty() {
		report.Revision, report.Status = known.last.Version, statusSkipped
		say("Skipped release %q (namespace: %q): cluster resources already as desired", o.Release, o.Namespace)
		return nil
	}
	made.print(o.Release, o.Namespace)
	report.Revision = 1
	if known.last != nil {
		report.Revision = known.last.Version + 1
	}
	started := time.Now().Add(-time.Second)
	watched := c.follow(ctx, made, started, time.Duration(o.StatusPeriodSeconds)*time.Second)
	deployed, err := c.run(ctx, o, w, known, watched.ctx)
	watched.stop()
	if err == nil {
		err = c.finish(ctx, made, deployed)
	}
	if err != nil {
		if cause := watched.cause(); cause != nil {
			// Helm only knows that its wait was ended.
			err = cause
		}
		err = fmt.Errorf("release %q failed: %w", o.Release, err)
		report.Status = statusFailed
		report.sortOut(made, w.marks, err)
		say("Failed release %q (namespace: %q)", o.Release, o.Namespace)
		c.printWarnings(ctx, started)
		return errors.Join(err, c.rollBack(o, report.Revision))
	}
	report.Status, report.Revision, report.CompletedOperations = statusDeployed, deployed.Version, made.names()
	say("Completed operations")
	for _, op := range made.operations {
		say("- %s", op)
	}
	if notes := deployed.Info.Notes; notes != "" && !o.NoNotes {
		say("Release notes:\n%s", notes)
	}
	say("Succeeded release %q (namespace: %q)", o.Release, o.Namespace)
	return nil
}

func (c *Cluster) run(ctx context.Context, o *options.Options, w *work, known history, waiting context.Context) (*release.Release, error) {
	values, err := copyValues(w.values)
	if err != nil {
		return nil, err
	}
	wait := []kube.WaitOption{kube.WithWaitContext(waiting)}
	if known.last == nil {
		install := action.NewInstall(c.helm)
		install.ReleaseName = o.Release
		install.Namespace = o.Namespace
		install.ForceConflicts = true
		install.TakeOwnership = o.ForceAdoption
		install.DisableOpenAPIValidation = true
		install.WaitStrategy = kube.StatusWatcherStrategy
		install.WaitOptions = wait
		install.WaitForJobs = true
		install.Timeout = o.Timeout()
		install.PostRenderer = w.marks.renderer()
		return asRelease(install.RunWithContext(ctx, w.chart, values))
	}
	upgrade := action.NewUpgrade(c.helm)
	upgrade.Namespace = o.Namespace
	upgrade.ServerSideApply = "true"
	upgrade.ForceConflicts = true
	upgrade.TakeOwnership = o.ForceAdoption
	upgrade.DisableOpenAPIValidation = true
	upgrade.WaitStrategy = kube.StatusWatcherStrategy
	upgrade.WaitOptions = wait
	upgrade.WaitForJobs = true
	upgrade.Timeout = o.Timeout()
	upgrade.MaxHistory = o.HistoryMax
	upgrade.ResetValues = true
	upgrade.PostRenderer = w.marks.renderer()
	return asRelease(upgrade.RunWithContext(ctx, o.Release, w.chart, values))
}

// finish does what comes after Helm; when that fails, so has the release.
func (c *Cluster) finish(ctx context.Context, made *plan, deployed *release.Release) error {
	err := finishDeletes(made)
	if err == nil {
		// werf watches events while it tracks, and fails when it may not.
		err = c.mayReadEvents(ctx)
	}
	if err == nil {
		return nil
	}
	deployed.SetStatus(common.StatusFailed, err.Error())
	return errors.Join(err, c.helm.Releases.Update(deployed))
}

// finishDeletes removes what Helm does not know of because an interrupted revision made it.
func finishDeletes(made *plan) error {
	background := metav1.DeletePropagationBackground
	for _, op := range made.operations {
		if op.verb != "Delete" || op.info.Get() != nil {
			continue
		}
		helper := resource.NewHelper(op.info.Client, op.info.Mapping)
		_, err := helper.DeleteWithOptions(op.info.Namespace, op.info.Name, &metav1.DeleteOptions{PropagationPolicy: &background})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("cannot delete %s: %w", op.name, err)
		}
	}
	return nil
}

// rollBack returns to the last good revision, if that was asked for and there is one.
func (c *Cluster) rollBack(o *options.Options, failed int) error {
	if !o.AutoRollback {
		return nil
	}
	good, err := c.lastGood(o.Release, failed)
	if err != nil {
		return fmt.Errorf("cannot roll back: %w", err)
	}
	if good == 0 {
		say("Nothing to roll back to: release %q has no deployed revision", o.Release)
		return nil
	}
	say("Rolling back release %q to revision %d", o.Release, good)
	back := action.NewRollback(c.helm)
	back.Version = good
	back.ServerSideApply = "true"
	back.ForceConflicts = true
	back.WaitStrategy = kube.StatusWatcherStrategy
	back.WaitForJobs = true
	back.Timeout = o.Timeout()
	back.MaxHistory = o.HistoryMax
	if err := back.Run(o.Release); err != nil {
		return fmt.Errorf("rollback to revision %d failed: %w", good, err)
	}
	say("Rolled back release %q to revision %d", o.Release, good)
	return nil
}

func (c *Cluster) mayReadEvents(ctx context.Context) error {
	_, err := c.client.CoreV1().Events(c.namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return fmt.Errorf("cannot watch events: %w", err)
	}
	return nil
}

// printWarnings shows what the cluster complained about since the run began.
func (c *Cluster) printWarnings(ctx context.Context, since time.Time) {
	const most = 20
	events, err := c.client.CoreV1().Events(c.namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning", Limit: 200})
	if err != nil {
		return
	}
	shown := 0
	for _, event := range events.Items {
		if event.LastTimestamp.Time.Before(since) || shown == most {
			continue
		}
		shown++
		say("%s/%s event: %s: %s", event.InvolvedObject.Kind, event.InvolvedObject.Name, event.Reason, event.Message)
	}
}
