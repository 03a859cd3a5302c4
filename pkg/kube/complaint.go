package kube

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// reasonInvalid is the reason of an Event for which none is given.
	reasonInvalid = "InvalidAnnotation"
	// MaxComplaints bounds the Events that wait to be written; the log and the status have what does not fit.
	MaxComplaints = 1000
	// maxEventName is how much of an object's name an Event has in its own, which may have 253 letters in all.
	maxEventName = 200
	// eventPause is the least time between two Events.
	eventPause = 20 * time.Millisecond
	// eventRetry is how long an Event waits that could not be written.
	eventRetry = time.Second
)

// Complaint is a sentence about an object that is wrong.
type Complaint struct {
	APIVersion, Kind, Name string
	UID                    types.UID
	// Reason is that of the Event: one word, InvalidAnnotation if it is empty.
	Reason   string
	Sentence string
	// Generation is that of the object, if the same sentence is to be said again of the next one.
	Generation string
}

// Complaints is a queue of them, which Client.Complain writes as Events.
type Complaints chan Complaint

// NewComplaints returns an empty queue.
func NewComplaints() Complaints { return make(Complaints, MaxComplaints) }

// Add puts a complaint into the queue. It is false if there are too many.
func (c Complaints) Add(next Complaint) bool {
	select {
	case c <- next:
		return true
	default:
		return false
	}
}

// Complain writes an Event for each complaint until ctx ends, one after the other.
func (c *Client) Complain(ctx context.Context, queue Complaints) {
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-queue:
			c.recordEvent(ctx, next)
		}
		if !Pause(ctx, eventPause) {
			return
		}
	}
}

// Pause waits. It is false when ctx has ended.
func Pause(ctx context.Context, length time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(length):
		return true
	}
}

// recordEvent tries until the API server has the Event, refuses it, or ctx ends.
func (c *Client) recordEvent(ctx context.Context, about Complaint) {
	err := wait.PollUntilContextCancel(ctx, eventRetry, true, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
		defer cancel()
		_, err := c.core.Events(c.config.Namespace).Create(ctx, c.event(about), metav1.CreateOptions{})
		switch {
		case err == nil, apierrors.IsAlreadyExists(err):
			return true, nil
		case Refused(err):
			return false, err
		}
		return false, nil
	})
	if err != nil && ctx.Err() == nil {
		c.logger.Warn().Err(err).Str("workload", about.Name).Msg("an Event could not be written")
	}
}

// event has a name that is made of what it says: the next leader, which finds the same, does not say it again for as long as
// Kubernetes keeps it.
func (c *Client) event(about Complaint) *corev1.Event {
	hash := sha256.Sum256([]byte(string(about.UID) + about.Generation + about.Sentence))
	begin := strings.TrimRight(about.Name[:min(len(about.Name), maxEventName)], ".-")
	now := metav1.Now()
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.config.Namespace, Name: begin + "." + hex.EncodeToString(hash[:8])},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: about.APIVersion, Kind: about.Kind, Namespace: c.config.Namespace, Name: about.Name, UID: about.UID,
		},
		Type: corev1.EventTypeWarning, Reason: cmp.Or(about.Reason, reasonInvalid), Message: about.Sentence,
		Source: corev1.EventSource{Component: c.Agent(), Host: c.config.Identity}, ReportingController: c.Agent(), ReportingInstance: c.config.Identity,
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
}
