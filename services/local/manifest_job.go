package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/job"
)

// kindCronJob is the kind of which definitions of jobs are made.
const kindCronJob = "CronJob"

// Job is the definition of a job as its manifest describes it.
type Job struct {
	Definition job.Definition
	// Source is file:line of the CronJob.
	Source string
}

// job reads one CronJob and keeps it if it is the definition of a job.
func (f *manifestFile) job(root *yamlValue) {
	decoded, ok := f.decode(root, kindCronJob)
	if !ok {
		return
	}
	m := &manifest{manifestFile: f, root: root, spec: decoded, pod: []string{"spec", "jobTemplate", "spec", "template"}}
	j := Job{Source: fmt.Sprintf("%s:%d", f.path, root.line)}
	if !m.readJob(&j) || !m.isFirstJob(j) {
		return
	}
	f.jobPlaces[j.Definition.Name] = j.Source
	f.jobs = append(f.jobs, j)
}

// readJob reads the definition twice: how it runs here is put into its template, for which the container must be known that requests change.
func (m *manifest) readJob(j *Job) bool {
	if m.spec.name == "" {
		m.at(LevelError, "metadata.name is missing", "metadata")
		return false
	}
	cron := job.CronJob{Name: m.spec.name, Annotations: m.spec.annotations, Suspended: m.spec.suspended, Template: m.jobTemplate()}
	definition, isJob := job.FromCronJob(cron, m.lastJob())
	if !isJob {
		m.passOverCronJob(definition)
		return false
	}
	m.played = definition.Container
	if !m.isPlayable() {
		return false
	}
	local, ok := m.readLocal()
	if !ok {
		return false
	}
	template, err := withAnnotations(cron.Template, local)
	if err != nil {
		m.at(LevelError, err.Error(), "spec", "jobTemplate")
		return false
	}
	cron.Template = template
	j.Definition, isJob = job.FromCronJob(cron, m.lastJob())
	m.jobProblems(LevelWarn, j.Definition.Problems)
	return isJob
}

// jobTemplate is spec.jobTemplate as JSON.
func (m *manifest) jobTemplate() json.RawMessage {
	var text bytes.Buffer
	if template := m.root.child("spec", "jobTemplate"); template != nil {
		template.encode(&text)
	}
	return text.Bytes()
}

// lastJob is the definition of that name as it was read the last time, nil if there was none.
func (m *manifest) lastJob() *job.Definition {
	last, found := m.last.jobs[m.spec.name]
	if !found {
		return nil
	}
	return &last.Definition
}

// passOverCronJob says why the CronJob is no job. Kubernetes runs one that is not suspended, which is nothing that is refused.
func (m *manifest) passOverCronJob(none job.Definition) {
	problems := none.Problems
	if none.Refused != "" {
		problems = append([]string{none.Refused}, problems...)
	}
	_, _, switched := m.lookup("Job")
	switch {
	case len(problems) == 0:
		m.notice(LevelInfo, m.root.line, "", kindCronJob+"/"+m.spec.name+` is passed over: it has no annotation sluice/Job: "true"`)
	case switched && m.spec.suspended:
		m.jobProblems(LevelError, problems)
	default:
		m.jobProblems(LevelWarn, problems)
	}
}

// jobProblems tells sentences, each of which begins with an annotation or a field.
func (m *manifest) jobProblems(level string, problems []string) {
	for _, sentence := range problems {
		place, _, _ := strings.Cut(sentence, ": ")
		line := m.root.line
		if key, annotated := strings.CutPrefix(place, "annotation "); annotated {
			line = m.annotationLine(key)
		} else if field := m.root.find(place); field != nil {
			line = field.line
		}
		m.notice(level, line, "", sentence)
	}
}

// isPlayable tells what Kubernetes refuses, and what it does and a process does not.
func (m *manifest) isPlayable() bool {
	if problem := wrongJob(m.spec.jobSpec); problem != "" {
		m.at(LevelError, problem, "spec", "jobTemplate", "spec")
		return false
	}
	if problem := unplayable(m.spec.jobSpec); problem != "" {
		m.at(LevelWarn, problem+", so the job is refused here", "spec", "jobTemplate", "spec")
	}
	pod := m.spec.template.Spec
	if len(pod.Containers) > 1 || len(pod.InitContainers) > 0 {
		m.at(LevelWarn, fmt.Sprintf("of its containers only %s is run here", m.container().Name), append(m.pod, "spec")...)
	}
	return true
}

// readLocal returns the annotations by which the template says how it runs here: sluice/LocalCommand, else the command of the container.
func (m *manifest) readLocal() (local map[string]string, ok bool) {
	local = map[string]string{annotationLocalFolder: m.folder, annotationLocalContainer: m.container().Name}
	m.readEnv() // what only a cluster can resolve is told here, once
	key, text, found := m.lookup(function.KeyLocalCommand)
	switch command := m.container().Command; {
	case found:
		if _, err := splitCommand(text); err != nil {
			m.annotated(LevelError, key, err.Error())
			return nil, false
		}
		local[annotationLocalCommand] = text
	case len(command) == 0 || command[0] == "":
		m.notice(LevelError, m.root.line, "", fmt.Sprintf("job %s has no command for local mode: add the annotation sluice/LocalCommand", m.spec.name))
		return nil, false
	}
	return local, true
}

func (m *manifest) isFirstJob(j Job) bool {
	first, twice := m.jobPlaces[j.Definition.Name]
	if twice {
		m.at(LevelError, fmt.Sprintf("the job %s is there twice: at %s and at %s; rename one", j.Definition.Name, first, j.Source), "metadata", "name")
	}
	return !twice
}

// noteRefusedJob remembers why a document is no job although it is meant to be one, if it is none: the first error since before says it, else the first warning.
func (f *manifestFile) noteRefusedJob(root *yamlValue, before int) {
	name := root.text("metadata", "name")
	if _, known := f.refusedJobs[name]; known || root.text("kind") != kindCronJob || job.ValidName(name) != nil || !meansJob(root) {
		return
	}
	for _, level := range []string{LevelError, LevelWarn} {
		for _, notice := range f.notices[before:] {
			if notice.Level == level {
				f.refusedJobs[name] = notice.String()
				return
			}
		}
	}
}

// meansJob reports whether a CronJob is annotated as a job, in whatever form.
func meansJob(root *yamlValue) bool {
	annotations := map[string]string{}
	if written := root.child("metadata", "annotations"); written != nil {
		for _, one := range written.children {
			annotations[one.key] = fmt.Sprint(one.scalar)
		}
	}
	_, value, found := function.Lookup("Job", annotations, nil)
	return found && !strings.EqualFold(value, "false")
}

// withAnnotations puts annotations into a template, in the place of its own of the same name.
func withAnnotations(template json.RawMessage, annotations map[string]string) (json.RawMessage, error) {
	var whole struct {
		Metadata map[string]json.RawMessage `json:"metadata,omitempty"`
		Spec     json.RawMessage            `json:"spec"`
	}
	if err := json.Unmarshal(template, &whole); err != nil {
		return nil, fmt.Errorf("spec.jobTemplate: %w", err)
	}
	var own map[string]string
	if text := whole.Metadata["annotations"]; text != nil {
		if err := json.Unmarshal(text, &own); err != nil {
			return nil, fmt.Errorf("spec.jobTemplate.metadata.annotations: %w", err)
		}
	}
	all := maps.Clone(annotations)
	for key, value := range own {
		if _, ours := all[key]; !ours {
			all[key] = value
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("spec.jobTemplate.metadata.annotations: %w", err)
	}
	if whole.Metadata == nil {
		whole.Metadata = map[string]json.RawMessage{}
	}
	whole.Metadata["annotations"] = text
	return json.Marshal(whole)
}
