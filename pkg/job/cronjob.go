package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// CronJob is what a definition is made of on the cluster: an annotated, suspended CronJob.
type CronJob struct {
	Name        string
	Annotations map[string]string
	Suspended   bool
	// Template is its spec.jobTemplate as JSON, whole.
	Template json.RawMessage
}

// FromCronJob reads a definition. It is none without the annotation sluice/Job or SlimFaas/Job "true", or when it is not suspended: then Kubernetes runs it by
// itself. last is the definition of that name as it was last valid, nil if there was none: its values hold for those that are wrong now. What is none may have Problems all
// the same, for whoever meant it to be one, and if its name could be that of a job, it says under Refused why it is none.
func FromCronJob(cron CronJob, last *Definition) (d Definition, isJob bool) {
	r := cronReader{annotations: cron.Annotations, last: last, policy: policy{definition: defaults(cron.Name, "CronJob/"+cron.Name)}}
	if !r.readJob(cron) {
		return r.none(cron.Name), false
	}
	r.readAnnotations()
	r.readPolicy()
	if !r.readTemplate(cron.Template) {
		return r.none(cron.Name), false
	}
	r.reportUnknown()
	d = r.policy.definition
	d.Problems = boundSentences(r.problems)
	return d.withGeneration(), true
}

// none is what there is to say of a CronJob that is no definition. It is not refused if nobody meant it to be one.
func (r *cronReader) none(name string) Definition {
	r.reportUnknown()
	d := RefusedDefinition(name, "CronJob/"+name, r.refused)
	d.Problems = boundSentences(r.problems)
	return d
}

// RefusedDefinition stands for one that cannot be read, so that people see why.
func RefusedDefinition(name, source, why string) Definition {
	d := defaults(name, source)
	d.Refused = sentence(why)
	return d
}

// cronReader fills in a definition and collects what is wrong.
type cronReader struct {
	annotations map[string]string
	policy      policy
	// last is the definition as it was, nil if it is new.
	last     *Definition
	problems []string
	// refused says why it is no definition although somebody meant it to be one.
	refused string
	// keeps says that the container that requests change is that of last.
	keeps bool
}

// readJob reports whether the CronJob is a definition.
func (r *cronReader) readJob(cron CronJob) bool {
	written, value, found := r.lookup(keyJob)
	switch {
	case !found || strings.EqualFold(value, "false"):
		return false
	case !strings.EqualFold(value, "true"):
		r.refuse(cron.Name, annotationProblem(written, value, `is neither "true" nor "false"; the CronJob is no job`))
		return false
	case !isLabel(cron.Name):
		r.refuse(cron.Name, annotationProblem(written, value, "makes no job of a CronJob with the name "+quote(cron.Name)+": "+wantLabel))
		return false
	case !cron.Suspended:
		r.refuse(cron.Name, annotationProblem(written, value, "makes no job of a CronJob that is not suspended, because Kubernetes runs it by itself: set spec.suspend to true"))
		return false
	}
	return true
}

// refuse notes why the CronJob is no definition. There is nobody who could ask for a job of a name that none can have.
func (r *cronReader) refuse(name, why string) {
	if !isLabel(name) {
		r.problems = append(r.problems, why)
		return
	}
	r.refused = why
}

// readPolicy puts the policy on top of the other annotations. If anything in it is wrong, all that a policy can say stays as it was last: half a policy could allow more than was
// meant. Where there was none, what is right in it holds.
func (r *cronReader) readPolicy() {
	written, _, found := r.lookup(keyJobPolicy)
	if !found {
		return
	}
	wrong := r.policy.read(r.annotations[written]) // with the spaces before it, for which lines count
	if d := &r.policy.definition; len(wrong) > 0 && r.last != nil {
		d.Visibility, d.DependsOn, d.Parallel, d.Overrides, d.Logs = r.last.Visibility, r.last.DependsOn, r.last.Parallel, r.last.Overrides, r.last.Logs
		d.QueueDeadline, d.StartDeadline = r.last.QueueDeadline, r.last.StartDeadline
		r.keeps = true
	}
	for _, sentence := range wrong {
		r.problems = append(r.problems, "annotation "+written+": "+sentence+holds)
	}
}

// maxTemplate leaves room in a record for what a request adds, in bytes.
const maxTemplate = maxSpec / 2

// readTemplate is false if there is none that can be run.
func (r *cronReader) readTemplate(text json.RawMessage) bool {
	d := &r.policy.definition
	parsed, err := checkTemplate(text)
	switch {
	case err == nil:
		d.Template, d.Container = compacted(text), r.mainContainer(parsed)
		return true
	case r.last == nil:
		r.refuse(d.Name, err.Error()+"; the CronJob is no job")
		return false
	}
	r.problems = append(r.problems, err.Error()+"; the last valid template holds")
	d.Template, d.Container = r.last.Template, r.last.Container
	return true
}

func compacted(text json.RawMessage) json.RawMessage {
	var compact bytes.Buffer
	if json.Compact(&compact, text) != nil { // it has been parsed
		return text
	}
	return compact.Bytes()
}

// mainContainer is the index of the container that requests change: the one that the policy names, else the one that is called as the job, else the first.
func (r *cronReader) mainContainer(t template) int {
	wanted := []string{r.policy.mainContainer}
	if t.container(r.policy.mainContainer) < 0 && r.policy.mainContainer != "" {
		r.keeps = true
		written, _, _ := r.lookup(keyJobPolicy)
		r.problems = append(r.problems, fmt.Sprintf("annotation %s: mainContainer: %s is no container of the template: the name of one is right", written, quote(r.policy.mainContainer))+holds)
	}
	if r.keeps && r.last != nil {
		wanted = []string{r.last.containerName()}
	}
	for _, name := range append(wanted, r.policy.definition.Name) {
		if i := t.container(name); i >= 0 && name != "" {
			return i
		}
	}
	return 0
}

// container is the index of the container of that name, below 0 if there is none.
func (t template) container(name string) int {
	return slices.IndexFunc(t.containers, func(c tree) bool { return text(c, "name") == name })
}

// checkTemplate refuses what no run can have. What Kubernetes itself refuses is for its API server to say.
func checkTemplate(text json.RawMessage) (t template, err error) {
	if len(text) > maxTemplate {
		return t, fmt.Errorf("spec.jobTemplate: %d bytes are too many: at most %d are right", len(text), maxTemplate)
	}
	if t, err = parseTemplate(text); err != nil {
		return t, err
	}
	if manual, _ := t.job["manualSelector"].(bool); manual || t.job["selector"] != nil {
		return t, errors.New("spec.jobTemplate.spec.selector: it and manualSelector are refused, because each run needs labels of its own: leave them out")
	}
	return t, nil
}

// containerName is the name of the container that requests change.
func (d Definition) containerName() string {
	t, err := parseTemplate(d.Template)
	if err != nil || d.Container >= len(t.containers) {
		return ""
	}
	return text(t.containers[d.Container], "name")
}

// withGeneration fills in Generation.
func (d Definition) withGeneration() Definition {
	const hashed = 10
	below := d
	below.Name, below.Aliases, below.Source, below.Generation, below.Refused, below.Problems = "", nil, "", "", "", nil
	if written, err := json.Marshal(below); err == nil { // what was read as JSON can be written
		d.Generation = shortHash(written, hashed)
	}
	return d
}
