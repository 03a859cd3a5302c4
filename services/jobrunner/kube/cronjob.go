package kube

import (
	"encoding/json"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/pkg/kube"
)

// cronJob is what we keep of a CronJob that is a definition, or that somebody meant to be one.
type cronJob struct {
	uid        types.UID
	isJob      bool
	definition job.Definition
}

// reasonRefused is the reason of Events about definitions of which no runs are made, beside those about annotations.
const reasonRefused = "InvalidDefinition"

// readCronJob reads a CronJob. last is its definition as it was last valid, nil if there was none. One that is being deleted is no definition any more.
func readCronJob(object *unstructured.Unstructured, last *job.Definition) *cronJob {
	c := &cronJob{uid: object.GetUID(), definition: job.Definition{Name: object.GetName()}}
	if object.GetDeletionTimestamp() != nil {
		return c
	}
	suspended, _, _ := unstructured.NestedBool(object.Object, "spec", "suspend")
	template, _, _ := unstructured.NestedFieldNoCopy(object.Object, "spec", "jobTemplate")
	text, err := json.Marshal(template)
	if err != nil { // it came as JSON
		return c
	}
	c.definition, c.isJob = job.FromCronJob(job.CronJob{
		Name: object.GetName(), Annotations: object.GetAnnotations(), Suspended: suspended, Template: text,
	}, last)
	return c
}

// putCronJob takes a CronJob as it is now.
func (v *view) putCronJob(object *unstructured.Unstructured) {
	name, old := object.GetName(), v.cronJobs[object.GetUID()]
	c := readCronJob(object, v.lastDefinition(name, old))
	v.complain(old, c)
	if old != nil && reflect.DeepEqual(old, c) {
		return
	}
	v.cronJobs[c.uid] = c
	switch current := v.byName[name]; {
	case c.isJob, c.definition.Refused != "":
		v.byName[name] = c
	case current != nil && current.uid == c.uid:
		delete(v.byName, name)
	default:
		return
	}
	v.touchDefinition(name)
}

// lastDefinition is the definition of a CronJob as it was, nil for a new one. Of those that are there when the watch begins it is known what an earlier leader has shared.
func (v *view) lastDefinition(name string, old *cronJob) *job.Definition {
	switch {
	case old != nil && old.isJob:
		return &old.definition
	case old != nil, v.listed[ofCronJobs], v.earlier == nil:
		return nil
	}
	if d, known := v.earlier(name); known && d.Source == "CronJob/"+name {
		return &d
	}
	return nil
}

func (v *view) dropCronJob(uid types.UID) {
	c := v.cronJobs[uid]
	delete(v.cronJobs, uid)
	if c != nil && v.byName[c.definition.Name] == c {
		delete(v.byName, c.definition.Name)
		v.touchDefinition(c.definition.Name)
	}
}

// complain says what is newly wrong with a CronJob, in the log and in an Event.
func (v *view) complain(old, c *cronJob) {
	var fresh []string
	for _, sentence := range c.definition.Problems {
		if old == nil || !slices.Contains(old.definition.Problems, sentence) {
			fresh = append(fresh, v.addEvent(c, kube.Complaint{Sentence: sentence}))
		}
	}
	if why := c.definition.Refused; why != "" && (old == nil || old.definition.Refused != why) {
		fresh = append(fresh, v.addEvent(c, kube.Complaint{Reason: reasonRefused, Sentence: why}))
	}
	if len(fresh) == 0 {
		return
	}
	line := v.logger.Warn().Str("job", c.definition.Name).Strs("problems", fresh)
	if c.isJob {
		line.Msg("the definition of a job is wrong in part")
		return
	}
	line.Msg("a CronJob with annotations of ours is no job")
}

// addEvent lets an Event of the CronJob be written, and returns its sentence.
func (v *view) addEvent(c *cronJob, about kube.Complaint) string {
	about.APIVersion, about.Kind, about.Name, about.UID = "batch/v1", "CronJob", c.definition.Name, c.uid
	about.Sentence = kube.Cut(about.Sentence, job.MaxMessage)
	if !v.complaints.Add(about) {
		v.logger.Warn().Str("job", about.Name).Msg("too much is wrong at once: there is no Event for this CronJob")
	}
	return about.Sentence
}

// refuse says in an Event of its CronJob that a definition is refused. One of the configuration has no CronJob.
func (v *view) refuse(d job.Definition, sentence string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c := v.byName[d.Name]; c != nil && d.Source == c.definition.Source {
		v.addEvent(c, kube.Complaint{Reason: reasonRefused, Sentence: sentence, Generation: d.Generation})
	}
}
