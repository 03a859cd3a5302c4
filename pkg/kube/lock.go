package kube

import (
	"context"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// leaseRequests names the requests for the Lease in the log.
const leaseRequests = "the lease"

// fencedLock is the Lease as client-go's election uses it. Beside that it notes when the last successful renewal was sent: from
// that moment, and not from its answer, the others count.
type fencedLock struct {
	resourcelock.Interface
	client *Client
	// leader is the one that was seen last. The election's goroutine owns it.
	leader string
	// renewal is the time at which the last successful write was sent.
	renewal atomic.Pointer[time.Time]
}

var _ resourcelock.Interface = (*fencedLock)(nil)

func newFencedLock(c *Client) *fencedLock {
	return &fencedLock{client: c, Interface: &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: c.config.Namespace, Name: c.config.LeaseName},
		Client:     c.leases,
		LockConfig: resourcelock.ResourceLockConfig{Identity: c.config.Identity},
	}}
}

// lastRenewal is zero before the first one.
func (l *fencedLock) lastRenewal() time.Time {
	if at := l.renewal.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Get implements resourcelock.Interface.
func (l *fencedLock) Get(ctx context.Context) (record *resourcelock.LeaderElectionRecord, raw []byte, err error) {
	err = l.request(ctx, func(ctx context.Context) error {
		record, raw, err = l.Interface.Get(ctx)
		return err
	})
	if err == nil {
		l.see(record.HolderIdentity)
	}
	return record, raw, err
}

// Create implements resourcelock.Interface.
func (l *fencedLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.write(ctx, func(ctx context.Context) error { return l.Interface.Create(ctx, record) })
}

// Update implements resourcelock.Interface.
func (l *fencedLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.write(ctx, func(ctx context.Context) error { return l.Interface.Update(ctx, record) })
}

func (l *fencedLock) write(ctx context.Context, do func(ctx context.Context) error) error {
	sent := time.Now()
	err := l.request(ctx, do)
	if err == nil {
		l.renewal.Store(&sent)
	}
	return err
}

// request bounds one request so that a second one fits before the leader's time is over, on another connection if the first
// one gets no answer.
func (l *fencedLock) request(ctx context.Context, do func(ctx context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, l.client.config.RenewDeadline/2)
	defer cancel()
	err := do(limited)
	if ctx.Err() != nil {
		return err
	}
	if limited.Err() != nil {
		l.client.DropConnections()
	}
	l.client.outage.note(leaseRequests, unexpected(err))
	return err
}

// see logs who leads, when that is somebody else than before.
func (l *fencedLock) see(holder string) {
	if holder != l.leader && holder != "" && holder != l.client.config.Identity {
		l.client.logger.Info().Str("leader", holder).Msg("another " + l.client.service.Name + " leads: this one stands by")
	}
	l.leader = holder
}
