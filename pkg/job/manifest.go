package job

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// Manifest is the batch/v1 Job to create for the present attempt of a run, as JSON: suspended, without TTL, with the labels, the annotations and the environment
// that are ours. The error says what is wrong with the record: one that Accept has made Queued has none.
func Manifest(r Run, namespace string) (json.RawMessage, error) {
	if r.Spec == nil {
		return nil, fmt.Errorf("make the Job of run %s of %s: its record has no Spec", r.ID, r.Definition)
	}
	t, err := parseTemplate(r.Spec)
	if err != nil {
		return nil, fmt.Errorf("make the Job of run %s of %s: %w", r.ID, r.Definition, err)
	}
	metadata, err := child(t.whole, "metadata")
	if err != nil {
		return nil, fmt.Errorf("make the Job of run %s of %s: %w", r.ID, r.Definition, err)
	}
	annotations, err := r.annotations(metadata, t.job["suspend"] == true)
	if err != nil {
		return nil, fmt.Errorf("make the Job of run %s of %s: %w", r.ID, r.Definition, err)
	}
	name := cmp.Or(r.JobName, NameOf(r))
	if err := t.ours(r, name, namespace); err != nil {
		return nil, fmt.Errorf("make the Job of run %s of %s: %w", r.ID, r.Definition, err)
	}
	return json.Marshal(tree{
		"apiVersion": "batch/v1", "kind": "Job", "spec": t.job,
		"metadata": tree{"name": name, "namespace": namespace, "labels": r.labels(metadata), "annotations": annotations},
	})
}

// labels are the template's own, with ours.
func (r Run) labels(metadata tree) map[string]string {
	labels := textsOf(metadata, fieldLabels)
	labels[LabelManagedBy], labels[LabelDefinition] = ManagedBy, r.Definition
	labels[LabelRunID], labels[LabelAttempt] = r.ID, strconv.Itoa(r.Attempt)
	return labels
}

// annotations are the template's own, with ours.
func (r Run) annotations(metadata tree, held bool) (map[string]string, error) {
	annotations := textsOf(metadata, "annotations")
	seed, err := json.Marshal(r.seed())
	if err != nil {
		return nil, fmt.Errorf("write the record: %w", err)
	}
	annotations[AnnotationRun], annotations[AnnotationSpecHash] = string(seed), r.SpecHash
	delete(annotations, AnnotationHeld)
	delete(annotations, AnnotationResumed)
	if held {
		annotations[AnnotationHeld] = "true"
	}
	return annotations, nil
}

// seed is what a lost record is made again from. It has no Spec: the Job is there, and the annotations of an object have no room for it (256 KiB).
func (r Run) seed() Run {
	r.Spec, r.Request, r.Pods, r.Log, r.Ending = nil, nil, nil, nil, nil
	r.Moves = r.Moves[:min(len(r.Moves), 1)]
	return r
}

// ours puts into a Job what every one of ours has.
func (t template) ours(r Run, name, namespace string) error {
	delete(t.job, fieldTTL)
	t.job["suspend"] = true
	pod, err := child(t.job, "template")
	if err != nil {
		return err
	}
	metadata, err := child(pod, "metadata")
	if err != nil {
		return err
	}
	metadata[fieldLabels] = r.labels(metadata)
	pod["metadata"] = metadata
	if t.pod["automountServiceAccountToken"] == nil && text(t.pod, "serviceAccountName") == "" && text(t.pod, "serviceAccount") == "" {
		t.pod["automountServiceAccountToken"] = false
	}
	given := []tree{
		{"name": "JOB_NAME", "value": name},
		{"name": "JOB_RUN_ID", "value": r.ID},
		{"name": "JOB_ATTEMPT", "value": strconv.Itoa(r.Attempt)},
		{"name": "JOB_NAMESPACE", "value": namespace},
		{"name": "JOB_DEFINITION", "value": r.Definition},
		{"name": "JOB_PATH", "value": r.Path},
	}
	for _, container := range slices.Concat(t.containers, t.init) {
		if err := give(container, given); err != nil {
			return err
		}
	}
	return nil
}

// nodeName is given to containers that do not set it themselves.
const nodeName = "NODE_NAME"

// give puts our variables before the container's own, which can refer to them with $(JOB_RUN_ID), and drops those of the same name.
func give(container tree, given []tree) error {
	own, err := children(container, fieldEnv)
	if err != nil {
		return errors.New("the env of a container is no list")
	}
	named := func(env []tree, name any) bool {
		return slices.ContainsFunc(env, func(v tree) bool { return v["name"] == name })
	}
	env := slices.Clone(given)
	if !named(own, nodeName) {
		env = append(env, tree{"name": nodeName, "valueFrom": tree{"fieldRef": tree{"fieldPath": "spec.nodeName"}}})
	}
	for _, v := range own {
		if !named(given, v["name"]) {
			env = append(env, v)
		}
	}
	container[fieldEnv] = env
	return nil
}
