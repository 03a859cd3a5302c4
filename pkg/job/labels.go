package job

import (
	"encoding/json"
	"strconv"
)

// Labels that Manifest puts on a Job and on its pods.
const (
	LabelManagedBy  = "app.kubernetes.io/managed-by"
	LabelDefinition = "sluice/definition"
	LabelRunID      = "sluice/run-id"
	LabelAttempt    = "sluice/attempt"
	// ManagedBy is the value of LabelManagedBy.
	ManagedBy = "sluice"
)

// Annotations that Manifest puts on a Job.
const (
	// AnnotationRun is the run's record as of the Job's creation, as JSON: the Seed of an Object.
	AnnotationRun      = "sluice/run"
	AnnotationSpecHash = "sluice/spec-hash"
	// AnnotationHeld is "true" where the definition's own Job is suspended, so that somebody else decides when it runs.
	AnnotationHeld = "sluice/held"
	// AnnotationResumed is "true" once we have let the Job run: whoever suspends it afterwards wants it suspended. It is written with the same request as that.
	AnnotationResumed = "sluice/resumed"
)

// Recognise reads the labels and annotations that Manifest has put on a Job into the Object: RunID, Definition, Attempt, SpecHash, Seed, Held and Resumed. RunID stays
// empty for somebody else's Job, and Seed nil where the annotation cannot be read.
func (o *Object) Recognise(labels, annotations map[string]string) {
	if labels[LabelManagedBy] != ManagedBy {
		return
	}
	o.RunID, o.Definition, o.SpecHash = labels[LabelRunID], labels[LabelDefinition], annotations[AnnotationSpecHash]
	o.Attempt, _ = strconv.Atoi(labels[LabelAttempt]) // 0 is no attempt of ours
	o.Held = o.Held || annotations[AnnotationHeld] == "true"
	o.Resumed = o.Resumed || annotations[AnnotationResumed] == "true"
	var seed Run
	if json.Unmarshal([]byte(annotations[AnnotationRun]), &seed) == nil && seed.ID == o.RunID && seed.Definition == o.Definition {
		o.Seed = &seed
	}
}
