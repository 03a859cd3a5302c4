package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/utils/ptr"
)

// releaseTimeout bounds how long the end of a process waits to give up the Lease.
const releaseTimeout = 2 * time.Second

// Lead runs term whenever this process holds the Lease, until ctx ends. A Lease that is lost, or cannot be renewed for the
// configured time, ends the term's context before another process can hold it; when the term has returned, Lead goes on
// trying. It gives up the Lease only after the term has returned, so that another one starts at once but never beside it.
// A term that returns before its context has ended is a failure of the process: Lead returns its error.
func (c *Client) Lead(ctx context.Context, term func(ctx context.Context) error) error {
	ctx = c.WithLog(ctx)
	defer c.outage.forget(leaseRequests)
	for ctx.Err() == nil {
		campaign, err := c.newCampaign()
		if err != nil {
			return fmt.Errorf("prepare the election of a leader: %w", err)
		}
		err = campaign.run(ctx, term)
		if err != nil || ctx.Err() != nil {
			c.release(context.WithoutCancel(ctx))
			return err
		}
	}
	return nil
}

// campaign is the way to the Lease and one term with it.
type campaign struct {
	client  *Client
	lock    *fencedLock
	elector *leaderelection.LeaderElector
	// leading is closed when the Lease is held, ended when it is no more.
	leading, ended chan struct{}
}

func (c *Client) newCampaign() (*campaign, error) {
	run := &campaign{client: c, lock: newFencedLock(c), leading: make(chan struct{}), ended: make(chan struct{})}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: run.lock, Name: c.config.LeaseName,
		LeaseDuration: c.config.LeaseDuration, RenewDeadline: c.config.RenewDeadline, RetryPeriod: c.config.RetryPeriod,
		// The library would give up the Lease while the term still runs, and after a loss even the next leader's.
		ReleaseOnCancel: false,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(run.leading) },
			OnStoppedLeading: func() {},
		},
	})
	run.elector = elector
	return run, err
}

// run returns when ctx has ended, when the Lease was lost, or with the error of a term that ended by itself.
func (r *campaign) run(ctx context.Context, term func(ctx context.Context) error) error {
	// The Lease is renewed until the term has returned, also after ctx has ended.
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(r.ended)
		r.elector.Run(renewing)
	}()
	defer func() {
		stop()
		<-r.ended
		r.client.DropConnections()
	}()
	select {
	case <-ctx.Done():
		return nil
	case <-r.ended:
		return nil
	case <-r.leading:
	}
	return r.serve(ctx, term)
}

// serve is the term.
func (r *campaign) serve(ctx context.Context, term func(ctx context.Context) error) error {
	logger := r.client.logger.With().Str("identity", r.client.config.Identity).Str("lease", r.client.config.LeaseName).Logger()
	name := r.client.service.Name
	logger.Info().Msg("this " + name + " leads")
	r.client.leader.Set(1)
	defer r.client.leader.Set(0)

	serving, stop := context.WithCancel(ctx)
	defer stop()
	returned := make(chan error, 1)
	go func() { returned <- term(serving) }()
	fence := time.NewTimer(r.untilFence())
	defer fence.Stop()
	for {
		select {
		case err := <-returned:
			return termEnded(serving, err)
		case <-r.ended:
		case <-fence.C:
			if left := r.untilFence(); left > 0 {
				fence.Reset(left)
				continue
			}
		}
		stop()
		logger.Warn().Msg("the lease was not renewed in time: this " + name + " leads no more")
		if err := termEnded(serving, <-returned); err != nil {
			logger.Warn().Err(err).Msg("the work as the leader did not end well")
		}
		return nil
	}
}

// termEnded judges the return of a term: only its context may end it.
func termEnded(serving context.Context, err error) error {
	if serving.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return nil
	}
	if err == nil {
		err = errors.New("it ended by itself")
	}
	return fmt.Errorf("work as the leader: %w", err)
}

// untilFence is how long the last renewal still allows this process to work.
func (r *campaign) untilFence() time.Duration {
	return r.client.config.RenewDeadline - time.Since(r.lock.lastRenewal())
}

// release gives up the Lease if this process holds it, so that the next leader need not wait for its end. The version that
// was read is a precondition: what another process has taken meanwhile stays untouched.
func (c *Client) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	leases := c.leases.Leases(c.config.Namespace)
	lease, err := leases.Get(ctx, c.config.LeaseName, metav1.GetOptions{})
	if err != nil || ptr.Deref(lease.Spec.HolderIdentity, "") != c.config.Identity {
		if err != nil && !apierrors.IsNotFound(err) {
			c.logger.Warn().Err(err).Msg("the lease is not given up: the next leader has to wait for its end")
		}
		return
	}
	lease.Spec.HolderIdentity = ptr.To("")
	lease.Spec.LeaseDurationSeconds = ptr.To[int32](1)
	if _, err := leases.Update(ctx, lease, metav1.UpdateOptions{}); err != nil {
		c.logger.Warn().Err(err).Msg("the lease is not given up: the next leader has to wait for its end")
		return
	}
	c.logger.Info().Str("identity", c.config.Identity).Msg("this " + c.service.Name + " has given up the lease")
}
