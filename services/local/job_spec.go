package local

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

// Annotations of a Job's template that say how it runs here. The loader of manifests writes them, so that a run keeps the command with which
// it was accepted.
const (
	annotationLocalCommand   = "sluice/LocalCommand"
	annotationLocalFolder    = "sluice/LocalFolder"
	annotationLocalContainer = "sluice/LocalContainer" // the name of the container that a process plays; the first one without it
)

// jobSpec is what the manifest of a Job asks for.
type jobSpec struct {
	jobLimits
	labels, annotations map[string]string
	// container is the one that a process plays.
	container string
	argv      []string // empty if there is no command
	folder    string
	env       []string
	// grace is how long a process has to end after SIGTERM.
	grace time.Duration
}

// readJob reads the manifest of a Job. The error wraps jobrunner.ErrInvalid: the Job is one that Kubernetes would refuse, or of a kind that is
// not played here.
func readJob(manifest json.RawMessage) (name string, spec jobSpec, err error) {
	var read batchv1.Job
	if err := json.Unmarshal(manifest, &read); err != nil {
		return "", jobSpec{}, fmt.Errorf("%w: the manifest is no batch/v1 Job: %w", jobrunner.ErrInvalid, err)
	}
	if read.APIVersion != "batch/v1" || read.Kind != "Job" {
		return "", jobSpec{}, fmt.Errorf("%w: it is a %s of %q: a Job of batch/v1 is right", jobrunner.ErrInvalid, read.Kind, read.APIVersion)
	}
	if err := job.ValidName(read.Name); err != nil {
		return "", jobSpec{}, fmt.Errorf("%w: metadata.name: %w", jobrunner.ErrInvalid, err)
	}
	if problem := cmp.Or(wrongJob(read.Spec), unplayable(read.Spec)); problem != "" {
		return "", jobSpec{}, fmt.Errorf("%w: %s", jobrunner.ErrInvalid, problem)
	}
	spec = jobSpec{
		jobLimits: limitsOf(read.Spec), labels: read.Labels, annotations: read.Annotations, grace: graceOf(read.Spec.Template.Spec),
		folder: read.Annotations[annotationLocalFolder],
	}
	container := playedContainer(read.Annotations[annotationLocalContainer], read.Spec.Template.Spec.Containers)
	if container == nil {
		return "", jobSpec{}, fmt.Errorf("%w: spec.template.spec.containers has no container %q", jobrunner.ErrInvalid, read.Annotations[annotationLocalContainer])
	}
	if err := spec.play(*container, read.Annotations[annotationLocalCommand]); err != nil {
		return "", jobSpec{}, fmt.Errorf("%w: %w", jobrunner.ErrInvalid, err)
	}
	return read.Name, spec, nil
}

// wrongJob is the sentence about what Kubernetes refuses, as far as it is looked at here; empty for nothing.
func wrongJob(spec batchv1.JobSpec) string {
	switch policy := spec.Template.Spec.RestartPolicy; {
	case policy != corev1.RestartPolicyNever && policy != corev1.RestartPolicyOnFailure:
		return fmt.Sprintf("template.spec.restartPolicy is %q: it must be Never or OnFailure", policy)
	case spec.BackoffLimit != nil && *spec.BackoffLimit < 0:
		return fmt.Sprintf("backoffLimit is %d: it must be 0 or more", *spec.BackoffLimit)
	}
	return ""
}

// unplayable is the sentence about what Kubernetes has and processes do not; empty for nothing.
func unplayable(spec batchv1.JobSpec) string {
	const missing = " is not there in the local mode"
	switch {
	case spec.CompletionMode != nil && *spec.CompletionMode != batchv1.NonIndexedCompletion:
		return fmt.Sprintf("completionMode %s", *spec.CompletionMode) + missing
	case spec.Completions == nil && spec.Parallelism != nil && *spec.Parallelism != 1:
		return "parallelism without completions (a work queue)" + missing
	case outside(spec.Completions), outside(spec.Parallelism):
		return fmt.Sprintf("completions and parallelism must be from 1 to %d in the local mode", maxCompletions)
	case spec.Template.Spec.ActiveDeadlineSeconds != nil:
		return "template.spec.activeDeadlineSeconds" + missing + ": activeDeadlineSeconds of the Job is"
	case spec.BackoffLimitPerIndex != nil:
		return "backoffLimitPerIndex" + missing
	case spec.PodFailurePolicy != nil:
		return "podFailurePolicy" + missing
	case spec.SuccessPolicy != nil:
		return "successPolicy" + missing
	}
	return ""
}

// maxCompletions bounds a Job of several processes.
const maxCompletions = 1000

func outside(count *int32) bool { return count != nil && (*count < 1 || *count > maxCompletions) }

func limitsOf(spec batchv1.JobSpec) jobLimits {
	const defaultBackoffLimit = 6 // Kubernetes' own
	limits := jobLimits{
		backoffLimit: int(valueOr(spec.BackoffLimit, defaultBackoffLimit)), restarts: spec.Template.Spec.RestartPolicy == corev1.RestartPolicyOnFailure,
		completions: int(valueOr(spec.Completions, 1)), parallelism: int(valueOr(spec.Parallelism, 1)), backoff: firstJobBackoff,
	}
	// A deadline of zero is one that has passed at once, as in Kubernetes.
	if spec.ActiveDeadlineSeconds != nil {
		limits.deadline = max(time.Duration(min(*spec.ActiveDeadlineSeconds, longestDeadline))*time.Second, 1)
	}
	return limits
}

// longestDeadline bounds activeDeadlineSeconds, so that nothing overflows: about 68 years.
const longestDeadline = 1<<31 - 1

func valueOr(value *int32, standard int32) int32 {
	if value == nil {
		return standard
	}
	return *value
}

func graceOf(pod corev1.PodSpec) time.Duration {
	seconds := pod.TerminationGracePeriodSeconds
	if seconds == nil || *seconds < 0 {
		return defaultGracePeriod
	}
	return time.Duration(min(*seconds, int64(longestGracePeriod/time.Second))) * time.Second
}

func playedContainer(name string, containers []corev1.Container) *corev1.Container {
	i := slices.IndexFunc(containers, func(c corev1.Container) bool { return name == "" || c.Name == name })
	if i < 0 {
		return nil
	}
	return &containers[i]
}

// play takes the command and the environment of the container. The arguments are the container's, which a request may have replaced; they
// follow the command as in Kubernetes.
func (s *jobSpec) play(container corev1.Container, local string) error {
	s.container = container.Name
	environment := &containerEnv{values: map[string]string{}}
	for _, variable := range container.Env {
		if value, known := valueOf(variable, environment); known {
			environment.add(variable.Name, value)
		}
	}
	var args []string
	for _, word := range container.Args {
		args = append(args, expandReferences(word, environment.lookup))
	}
	command, err := s.command(container, local, environment)
	if err != nil {
		return err
	}
	s.env = environment.entries
	if len(command) > 0 {
		s.argv = append(command, args...)
		s.argv[0] = fromFolder(s.argv[0], s.folder)
	}
	if err := environment.fits(s.argv); err != nil {
		return fmt.Errorf("container %s has %w", container.Name, err)
	}
	return nil
}

// valueOf is the value of a variable as far as it is known here.
func valueOf(variable corev1.EnvVar, environment *containerEnv) (value string, known bool) {
	from := variable.ValueFrom
	switch {
	case variable.Name == "" || strings.Contains(variable.Name, "="):
		return "", false
	case from == nil:
		return expandReferences(variable.Value, environment.lookup), true
	case from.FieldRef != nil && from.FieldRef.FieldPath == "spec.nodeName":
		host, err := os.Hostname()
		return host, err == nil
	}
	return "", false
}

// command is that of sluice/LocalCommand, else the container's own; empty if there is none.
func (s *jobSpec) command(container corev1.Container, local string, environment *containerEnv) (words []string, err error) {
	if local != "" {
		if words, err = splitCommand(local); err != nil {
			return nil, fmt.Errorf("the annotation %s is %q: %w", annotationLocalCommand, shorten(local), err)
		}
		return words, nil
	}
	if len(container.Command) == 0 || container.Command[0] == "" {
		return nil, nil
	}
	for _, word := range container.Command {
		words = append(words, expandReferences(word, environment.lookup))
	}
	return words, nil
}

// runnable refuses a Job for which there is no program here.
func (s *jobSpec) runnable() error {
	if len(s.argv) > 0 {
		return nil
	}
	return fmt.Errorf("%w: job %s has an image, which is not run in the local mode, and no command: make it a manifest, a suspended CronJob with the annotation %s that names the program",
		jobrunner.ErrInvalid, s.labels[job.LabelDefinition], annotationLocalCommand)
}

// definition and run name what the Job is of.
func (s *jobSpec) definition() string { return s.labels[job.LabelDefinition] }

func (s *jobSpec) run() string { return s.labels[job.LabelRunID] }
