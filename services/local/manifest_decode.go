package local

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"reflect"
	"sort"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/json"

	"github.com/sluicefaas/sluice/pkg/function"
)

// manifestSpec is what is read of a Deployment, a StatefulSet or a CronJob.
type manifestSpec struct {
	name        string
	annotations map[string]string
	replicas    *int32
	template    corev1.PodTemplateSpec
	// suspended and jobSpec are those of a CronJob.
	suspended bool
	jobSpec   batchv1.JobSpec
}

// apiVersions are those that are read of each kind.
var apiVersions = map[string]string{
	function.KindDeployment: "apps/v1", function.KindStatefulSet: "apps/v1", kindCronJob: "batch/v1",
}

// decoders read the kinds that can be functions or jobs. They return what UnmarshalStrict does.
var decoders = map[string]func([]byte) (manifestSpec, []error, error){
	function.KindDeployment: func(text []byte) (manifestSpec, []error, error) {
		var d appsv1.Deployment
		strict, err := json.UnmarshalStrict(text, &d)
		return manifestSpec{name: d.Name, annotations: d.Annotations, replicas: d.Spec.Replicas, template: d.Spec.Template}, strict, err
	},
	function.KindStatefulSet: func(text []byte) (manifestSpec, []error, error) {
		var s appsv1.StatefulSet
		strict, err := json.UnmarshalStrict(text, &s)
		return manifestSpec{name: s.Name, annotations: s.Annotations, replicas: s.Spec.Replicas, template: s.Spec.Template}, strict, err
	},
	kindCronJob: func(text []byte) (manifestSpec, []error, error) {
		var c batchv1.CronJob
		strict, err := json.UnmarshalStrict(text, &c)
		spec := c.Spec.JobTemplate.Spec
		return manifestSpec{
			name: c.Name, annotations: c.Annotations, template: spec.Template, suspended: c.Spec.Suspend != nil && *c.Spec.Suspend, jobSpec: spec,
		}, strict, err
	},
}

// roots are the Go types of the kinds, to know the fields that there are.
var roots = map[string]reflect.Type{
	function.KindDeployment:  reflect.TypeFor[appsv1.Deployment](),
	function.KindStatefulSet: reflect.TypeFor[appsv1.StatefulSet](),
	kindCronJob:              reflect.TypeFor[batchv1.CronJob](),
}

// maxWrongValues is how many wrong values of one document are told. Looking for each of them decodes the document
// some times, so it is not done in a document with more than maxSearched values.
const (
	maxWrongValues = 10
	maxSearched    = 10_000
)

// decode reads a document strictly. If something is wrong, it reports each place and returns false.
func (f *manifestFile) decode(root *yamlValue, kind string) (manifestSpec, bool) {
	var wrong []Notice
	decoded, strict, err := decodeValue(root, kind)
	if err != nil && root.count() > maxSearched {
		f.notice(LevelError, root.line, "", "the document is wrong, and too large to find the line: "+err.Error())
		return decoded, false
	}
	for err != nil && len(wrong) < maxWrongValues {
		culprit := findCulprit(root, kind, err)
		wrong = append(wrong, Notice{Line: culprit.line, Key: culprit.path(), Text: wantText(culprit, err)})
		culprit.cut = true
		decoded, strict, err = decodeValue(root, kind)
	}
	for _, unknown := range strict {
		wrong = append(wrong, unknownField(root, kind, unknown))
	}
	sort.SliceStable(wrong, func(i, j int) bool { return wrong[i].Line < wrong[j].Line })
	for _, n := range wrong {
		f.notice(LevelError, n.Line, n.Key, n.Text)
	}
	return decoded, len(wrong) == 0
}

func decodeValue(root *yamlValue, kind string) (manifestSpec, []error, error) {
	var text bytes.Buffer
	root.encode(&text)
	return decoders[kind](text.Bytes())
}

// findCulprit finds the value that a decoder stumbles over. Its errors have no place, some not even a path, so the
// values are cut off one after the other, inner ones first, until the error goes away; a binary search over how many.
func findCulprit(root *yamlValue, kind string, cause error) *yamlValue {
	var all []*yamlValue
	root.walk(func(v *yamlValue) {
		if !v.cut {
			all = append(all, v)
		}
	})
	first := sort.Search(len(all), func(n int) bool {
		setCut(all[:n+1], true)
		_, _, err := decodeValue(root, kind)
		setCut(all[:n+1], false)
		return err == nil || err.Error() != cause.Error()
	})
	return all[min(first, len(all)-1)]
}

func setCut(values []*yamlValue, cut bool) {
	for _, v := range values {
		v.cut = cut
	}
}

// wantText says what a value is and what would be right.
func wantText(v *yamlValue, err error) string {
	var wrong *stdjson.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return v.describe() + " is wrong: " + err.Error()
	}
	switch wrong.Type.Kind() {
	case reflect.String:
		if v.kind == scalar {
			return v.describe() + " must be a string: put it in quotes"
		}
		return v.describe() + " must be a string"
	case reflect.Bool:
		return v.describe() + " must be true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.describe() + " must be a whole number"
	case reflect.Slice, reflect.Array:
		return v.describe() + ` must be a list, with "- " before each item`
	case reflect.Struct, reflect.Map, reflect.Pointer:
		return v.describe() + " must be a mapping"
	}
	return v.describe() + " is wrong: " + err.Error()
}

func (v *yamlValue) describe() string {
	switch v.kind {
	case mapping:
		return "a mapping"
	case sequence:
		return "a list"
	}
	return shorten(string(scalarJSON(v.scalar)))
}

// shorten bounds what a notice repeats of a manifest.
func shorten(text string) string {
	const longest = 100
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}
