package job_test

import (
	"testing"

	"github.com/sluicefaas/sluice/pkg/job"
)

// TestRow05OnlyTheImagesOfTheList: what passes a check must be what is run, so a pattern stands for the whole reference.
func TestRow05OnlyTheImagesOfTheList(t *testing.T) {
	const digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, c := range []struct {
		images, image string
		allowed       bool
	}{
		{"[]", "example/fibonacci:1", true}, // its own
		{"[]", "example/fibonacci:2", false},
		{"['example/fibonacci:*']", "example/fibonacci:2", true},
		{"['example/fibonacci:*']", "example/fibonacci:", true},
		{"['example/fibonacci:*']", "example/fibonacci", false},
		{"['example/fibonacci:*']", "evil.io/example/fibonacci:2", false},
		{"['example/fibonacci:*']", "example/fibonacci-evil:2", false},
		{"['example/fibonacci:*']", "example/FIBONACCI:2", false},
		{"['example/*:1.*']", "example/a/b:1.2", true},
		{"['example/*:1.*']", "example/a:2.1", false},
		{"['*-batch']", "x-batch", true},
		{"['*-batch']", "x-batch:1", false},
		{"['example/fibonacci:1.*']", "example/fibonacci:1.0" + digest, false}, // the digest decides, whatever the tag is
		{"['example/fibonacci@*']", "example/fibonacci" + digest, true},
		{"['example/fibonacci" + digest + "']", "example/fibonacci" + digest, true},
		{"['example/fibonacci" + digest + "']", "example/fibonacci" + digest[:len(digest)-1] + "0", false},
		{"['*']", "anything:1" + digest, true},
		{"['*']", "two words", false},
		{"['*']", " example/fibonacci:1", false},
		{"['*']", "-rm", false},
	} {
		d := fibonacci(t, "overrides: {images: "+c.images+"}")
		body := `{"image":"` + c.image + `"}`
		if !c.allowed {
			requireRejected(t, d, body, job.ReasonImageNotAllowed+": "+`image: "`+c.image[:min(len(c.image), 40)])
			continue
		}
		requireAt(t, requireQueued(t, d, body).Spec, main+"image", `"`+c.image+`"`)
	}
	requireRejected(t, fibonacci(t, "overrides: {images: ['a:*', 'b']}"), `{"image":"c"}`, job.ReasonImageNotAllowed+": "+`image: "c" is not allowed: right is example/fibonacci:1 or a:* or b`)
}

// TestSampleBody: what a definition is checked with is accepted, if anything is.
func TestSampleBody(t *testing.T) {
	for configuration, want := range map[string]string{
		`{"Image":"own","ImagesWhitelist":["a:*"]}`: "",
		`{"ImagesWhitelist":["a:*","b"]}`:           `{"image":"a:x"}`,
		`{"ImagesWhitelist":["*"]}`:                 `{"image":"x"}`,
		`{"ImagesWhitelist":["a/*@*"]}`:             `{"image":"a/x@x"}`,
		`{"ImagesWhitelist":[]}`:                    "none",
	} {
		d := slimFaas(t, `{"Configurations":{"Default":`+configuration+`}}`, "default")
		body, ok := d.SampleBody()
		if ok != (want != "none") || ok && string(body) != want {
			t.Errorf("%s: %s %v, want %s", configuration, body, ok, want)
		}
		if run := ask(d, string(body)); ok != (run.Phase == job.Queued) {
			t.Errorf("%s: %s is %s %s", configuration, body, run.Phase, run.Message)
		}
		d.Overrides.Allow = []string{"args"}
		if _, ok := d.SampleBody(); ok != (want == "") {
			t.Errorf("%s: without image in what is allowed, it is %v", configuration, ok)
		}
	}
	if body, ok := (job.Definition{}).SampleBody(); !ok || body != nil {
		t.Errorf("%s %v", body, ok)
	}
}
