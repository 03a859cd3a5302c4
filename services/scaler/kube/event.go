package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// reasonInvalid is the reason of our Events.
	reasonInvalid = "InvalidAnnotation"
	// maxComplaints bounds the Events that wait to be written; the log and the status have what does not fit.
	maxComplaints = 1000
	// maxEventName is how much of a workload's name an Event has in its own, which may have 253 letters in all.
	maxEventName = 200
	// eventPause is the least time between two Events.
	eventPause = 20 * time.Millisecond
	// eventRetry is how long an Event waits that could not be written.
	eventRetry = time.Second
)

// complaint is a sentence about the annotations of a workload.
type complaint struct {
	kind, name string
	uid        types.UID
	sentence   string
}

// complaints logs what is newly wrong with annotations, and queues it to be written as Events.
type complaints struct {
	logger zerolog.Logger
	queue  chan complaint
}

func newComplaints(logger zerolog.Logger) *complaints {
	return &complaints{logger: logger, queue: make(chan complaint, maxComplaints)}
}

// about compares a workload with what it was, nil for a new one.
func (c *complaints) about(old, w *workload) {
	if w.leaving {
		return
	}
	var known []string
	if old != nil {
		known = old.problems
	}
	var fresh []string
	for _, sentence := range w.problems {
		if !slices.Contains(known, sentence) {
			fresh = append(fresh, sentence)
			c.enqueue(complaint{kind: w.kind, name: w.name, uid: w.uid, sentence: sentence})
		}
	}
	if len(fresh) == 0 {
		return
	}
	line := c.logger.Warn().Str("workload", w.name).Strs("problems", fresh)
	if w.isFunction {
		line.Msg("the annotations of a function are wrong")
		return
	}
	line.Msg("a workload with annotations of ours is no function")
}

func (c *complaints) enqueue(next complaint) {
	select {
	case c.queue <- next:
	default:
		c.logger.Warn().Str("workload", next.name).Msg("too many annotations are wrong at once: there is no Event for this workload")
	}
}

// recordEvents writes an Event for each complaint until ctx ends, one after the other.
func (c *Client) recordEvents(ctx context.Context, queue <-chan complaint) {
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-queue:
			c.recordEvent(ctx, next)
		}
		if !pause(ctx, eventPause) {
			return
		}
	}
}

// recordEvent tries until the API server has the Event, refuses it, or ctx ends.
func (c *Client) recordEvent(ctx context.Context, about complaint) {
	err := wait.PollUntilContextCancel(ctx, eventRetry, true, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		_, err := c.core.Events(c.config.Namespace).Create(ctx, about.event(c.config), metav1.CreateOptions{})
		switch {
		case err == nil, apierrors.IsAlreadyExists(err):
			return true, nil
		case refused(err):
			return false, err
		}
		return false, nil
	})
	if err != nil && ctx.Err() == nil {
		c.logger.Warn().Err(err).Str("workload", about.name).Msg("an Event could not be written")
	}
}

// event has a name that is made of what it says: the next leader, which finds the same, does not say it again for as long as
// Kubernetes keeps it.
func (about complaint) event(config Config) *corev1.Event {
	hash := sha256.Sum256([]byte(string(about.uid) + about.sentence))
	begin := strings.TrimRight(about.name[:min(len(about.name), maxEventName)], ".-")
	now := metav1.Now()
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: config.Namespace, Name: begin + "." + hex.EncodeToString(hash[:8])},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "apps/v1", Kind: about.kind, Namespace: config.Namespace, Name: about.name, UID: about.uid,
		},
		Type: corev1.EventTypeWarning, Reason: reasonInvalid, Message: about.sentence,
		Source: corev1.EventSource{Component: userAgent, Host: config.Identity}, ReportingController: userAgent, ReportingInstance: config.Identity,
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
}
