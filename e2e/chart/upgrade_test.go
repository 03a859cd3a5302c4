package chart

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A release from before there was a jobrunner has no password for it: the upgrade adds that one, with the hook's own account, and leaves the others.
func TestUpgradeAddsThePasswordThatIsMissing(t *testing.T) {
	p, scaler := plane(t), build(t, "scaler")
	space := p.namespace(t, "upgrade")
	p.runHooks(t, space, scaler)
	p.mustHelm(t, space, "install", release, chartFolder(), "--set", "jobrunner.enabled=false")
	old := p.secret(t, space)
	delete(old.Data, "jobrunner")
	old, err := p.CoreV1().Secrets(space).Update(t.Context(), old, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}

	p.mustHelm(t, space, "upgrade", release, chartFolder())
	now := p.secret(t, space)
	requirePasswords(t, now)
	if now.UID != old.UID {
		t.Error("the Secret is another one")
	}
	for user, value := range old.Data {
		if string(now.Data[user]) != string(value) {
			t.Errorf("the password of %s was changed", user)
		}
	}
	p.mustHelm(t, space, "uninstall", release)
}

// A Secret of one's own is not touched by anybody: what it lacks is said before the upgrade changes anything.
func TestPasswordsOfOnesOwnMustBeComplete(t *testing.T) {
	p := plane(t)
	space := p.namespace(t, "own")
	mine := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Data: map[string][]byte{}}
	for _, user := range []string{"gateway", "dispatcher", "scaler", "client", "route"} {
		mine.Data[user] = []byte("x7-" + user)
	}
	if _, err := p.CoreV1().Secrets(space).Create(t.Context(), mine, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	install := []string{"install", release, chartFolder(), "--namespace", space, "--dry-run=server", "--set", "nats.existingSecret=mine"}
	if _, err := p.helm(t, install...); err == nil || !strings.Contains(err.Error(), "nats.existingSecret mine: the Secret has no key jobrunner") {
		t.Errorf("without the jobrunner's password: %v", err)
	}
	if _, err := p.helm(t, append(install, "--set", "jobrunner.enabled=false")...); err != nil {
		t.Errorf("without a jobrunner: %v", err)
	}
}
