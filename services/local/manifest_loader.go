package local

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/job"
)

// loader collects what the manifests say.
type loader struct {
	workloads []Workload
	jobs      []Job
	notices   []Notice
	// places has where each workload stands, jobPlaces each job: file:line.
	places, jobPlaces map[string]string
	// last is what was read the last time.
	last lastContents
	// refused has, for the name in each document that was refused, the sentence why; broken the same for files that cannot be read,
	// or in which there is no telling whose document is refused.
	refused, broken map[string]string
	// refusedJobs has, for each CronJob that is meant to be a job and is none, the sentence why.
	refusedJobs map[string]string
	services    []function.Service
	speakers    []speaker
	others      []other
}

// lastContents are workloads and jobs by their names.
type lastContents struct {
	workloads map[string]Workload
	jobs      map[string]Job
}

func newLoader(given []Workload, last lastContents) *loader {
	l := &loader{places: map[string]string{}, jobPlaces: map[string]string{}, last: last, refused: map[string]string{}, broken: map[string]string{}, refusedJobs: map[string]string{}}
	for _, w := range given {
		l.places[w.Function.Name] = w.Source
		l.workloads = append(l.workloads, w)
	}
	return l
}

// file takes one file's content, or the reason why it cannot be read.
func (l *loader) file(f *manifestText) {
	file := manifestFile{loader: l, path: f.path, folder: filepath.Dir(f.absolute)}
	if f.err != nil {
		file.notice(LevelError, 0, "", f.err.Error())
		file.noteRefused("", len(l.notices)-1)
		return
	}
	file.read(f.content)
}

// finish decides what can only be decided when every document has been read. It returns what was read without what was kept,
// and what is kept as it was, each with the sentence why.
func (l *loader) finish() (read, kept Contents) {
	for _, s := range l.speakers {
		f := &l.workloads[s.index].Function
		f.Protocol = function.ProtocolOf(l.services, s.labels, s.port)
	}
	needed := map[string]bool{}
	for _, w := range slices.Concat(l.workloads, l.keep()) {
		for _, name := range w.Function.DependsOn {
			needed[name] = true
		}
	}
	jobs := l.keepJobs()
	for _, j := range slices.Concat(l.jobs, jobs) {
		for _, name := range j.Definition.DependsOn {
			needed[name] = true
		}
	}
	l.readOthers(needed)
	return Contents{Workloads: l.workloads, Jobs: l.jobs, Refused: l.refuseJobs(jobs)}, Contents{Workloads: l.keep(), Jobs: jobs}
}

// keep returns the workloads whose documents were refused, or may have been, as they were before.
func (l *loader) keep() []Workload {
	var kept []Workload
	for _, name := range slices.Sorted(maps.Keys(l.last.workloads)) {
		w := l.last.workloads[name]
		why, refused := l.whyRefused(name, w.Source)
		if _, read := l.places[name]; read || !refused {
			continue
		}
		w.Problems = append(slices.Clone(w.Problems), why)
		kept = append(kept, w)
	}
	return kept
}

// keepJobs is keep for jobs.
func (l *loader) keepJobs() []Job {
	var kept []Job
	for _, name := range slices.Sorted(maps.Keys(l.last.jobs)) {
		j := l.last.jobs[name]
		why, refused := l.whyRefused(cronJobNamed(name), j.Source)
		if _, read := l.jobPlaces[name]; read || !refused {
			continue
		}
		j.Definition.Problems = append(slices.Clone(j.Definition.Problems), why)
		kept = append(kept, j)
	}
	return kept
}

// refuseJobs returns the definitions that are not used: of names for which no other document was read, and nothing is kept.
func (l *loader) refuseJobs(kept []Job) (refused []job.Definition) {
	for _, name := range slices.Sorted(maps.Keys(l.refusedJobs)) {
		_, read := l.jobPlaces[name]
		if !read && !slices.ContainsFunc(kept, func(j Job) bool { return j.Definition.Name == name }) {
			refused = append(refused, job.RefusedDefinition(name, cronJobNamed(name), l.refusedJobs[name]))
		}
	}
	return refused
}

// whyRefused is the sentence why a document was refused, or may have been, that was read the last time at source.
func (l *loader) whyRefused(name, source string) (why string, refused bool) {
	why, refused = l.refused[name]
	if !refused {
		why, refused = l.broken[fileOf(source)]
	}
	return why + "; what the manifest said before holds", refused
}

// fileOf is the file of a Source.
func fileOf(source string) string {
	colon := strings.LastIndexByte(source, ':')
	if colon < 0 {
		return source
	}
	return source[:colon]
}

// other is a Deployment or StatefulSet that is no function.
type other struct {
	manifest *manifest
	workload Workload
	// at is how many notices there were before it.
	at int
}

// readOthers reads those that a function depends on, and says of the others that they are passed over. The notices get into
// the order of the documents.
func (l *loader) readOthers(needed map[string]bool) {
	var all []Notice
	notices, from := l.notices, 0
	for _, o := range l.others {
		all = append(all, notices[from:o.at]...)
		from, l.notices = o.at, nil
		if needed[o.manifest.spec.name] {
			if o.manifest.readDependency(&o.workload) {
				l.take(o.workload)
			}
		} else {
			o.manifest.passOver(o.workload.Function.Kind)
		}
		o.manifest.noteRefused(o.manifest.spec.name, 0)
		all = append(all, l.notices...)
	}
	l.notices = append(all, notices[from:]...)
}

func (l *loader) take(w Workload) {
	l.places[w.Function.Name] = w.Source
	l.workloads = append(l.workloads, w)
}
