package kube

import (
	"slices"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/kube"
)

// complaints logs what is newly wrong with annotations, and queues it to be written as Events.
type complaints struct {
	logger zerolog.Logger
	queue  kube.Complaints
}

func newComplaints(logger zerolog.Logger) *complaints {
	return &complaints{logger: logger, queue: kube.NewComplaints()}
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
		if slices.Contains(known, sentence) {
			continue
		}
		fresh = append(fresh, sentence)
		if !c.queue.Add(kube.Complaint{APIVersion: "apps/v1", Kind: w.kind, Name: w.name, UID: w.uid, Sentence: sentence}) {
			c.logger.Warn().Str("workload", w.name).Msg("too many annotations are wrong at once: there is no Event for this workload")
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
