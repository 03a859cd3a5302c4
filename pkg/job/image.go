package job

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
)

// imageForm has the characters of a reference of an image. What they stand for is for the cluster to say.
var imageForm = regexp.MustCompile(`^[a-zA-Z0-9][-a-zA-Z0-9._:/@+]*$`)

func checkImage(image string) error {
	if len(image) > maxImage || !imageForm.MatchString(image) {
		return errors.New("is no reference of an image: one such as example/batch:1.0 is right")
	}
	return nil
}

// image is the definition's own, or one that its list has.
func (m *merger) image() error {
	own, image := text(m.container, "image"), m.asked.image
	switch {
	case image == "" && own == "":
		return refuse(ReasonImageNotAllowed, fieldImage, "%s has none of its own: %s", m.definition.Name, m.allowedImages())
	case image == "" || image == own:
		return nil
	}
	if checkImage(image) != nil || !m.definition.Overrides.allowsImage(image) {
		return refuse(ReasonImageNotAllowed, fieldImage, "%s is not allowed: %s", quote(image), m.allowedImages())
	}
	m.container["image"] = image
	return nil
}

// allowsImage compares the whole reference. A digest decides over a tag, so a pattern for tags says nothing about it: a reference with a digest needs a pattern with
// one, or the pattern that allows everything.
func (o Overrides) allowsImage(image string) bool {
	for _, pattern := range o.Images {
		if pattern == "*" || strings.Contains(pattern, "@") == strings.Contains(image, "@") && matches(pattern, image) {
			return true
		}
	}
	return false
}

func (m *merger) allowedImages() string {
	allowed := m.definition.Overrides.Images
	if own := text(m.container, "image"); own != "" {
		allowed = append([]string{own}, allowed...)
	}
	if len(allowed) == 0 {
		return "no image is"
	}
	return "right is " + shorten(strings.Join(allowed, " or "))
}

// SampleBody is that of a request with which a definition can be checked: empty, or for one without an image of its own, one that asks for an image that it allows. ok is
// false if there is none: then no request of the definition can be accepted, and there is nothing to check. SlimFaas's built-in job for every name is like that.
func (d Definition) SampleBody() (body []byte, ok bool) {
	t, err := parseTemplate(d.Template)
	if err != nil || d.Container < 0 || d.Container >= len(t.containers) || text(t.containers[d.Container], "image") != "" {
		return nil, true // what is wrong is said by Accept
	}
	if d.Overrides.Allow != nil && !slices.Contains(d.Overrides.Allow, fieldImage) {
		return nil, false
	}
	for _, pattern := range d.Overrides.Images {
		if image := strings.ReplaceAll(pattern, "*", "x"); checkImage(image) == nil {
			body, err := json.Marshal(map[string]string{fieldImage: image})
			return body, err == nil
		}
	}
	return nil, false
}
