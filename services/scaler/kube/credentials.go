package kube

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/sluicefaas/sluice/pkg/kube"
)

// CredentialsConfig says which Secret EnsureCredentials makes.
type CredentialsConfig struct {
	Secret      string            `required:"" help:"Name of the Secret."`
	Users       []string          `default:"gateway,dispatcher,scaler,jobrunner,client,route" help:"Users, with commas between: each is a key of the Secret, with a random password."`
	Labels      map[string]string `name:"label" mapsep:"none" help:"Label of the Secret, as key=value; may be repeated."`
	Annotations map[string]string `name:"annotation" mapsep:"none" help:"Annotation of the Secret, as key=value; may be repeated."`
}

const (
	// credentialsPatience is for how long an API server that does not serve us is asked again.
	credentialsPatience = time.Minute
	// credentialsPause is the time between two attempts.
	credentialsPause = time.Second
)

// EnsureCredentials makes the Secret with a random password for each user. If it is there, it gets a password for each user that it lacks, as
// an upgrade may bring a further one, and nothing in it is changed. Several processes may do it at once: one of them is the first, and the others
// leave what it made.
func (c *Client) EnsureCredentials(ctx context.Context, config CredentialsConfig) error {
	if len(config.Users) == 0 || slices.Contains(config.Users, "") {
		return fmt.Errorf("--users %q: each must have a name, and there must be one at least", config.Users)
	}
	var secret *corev1.Secret
	var last error // why the attempt before failed
	err := wait.PollUntilContextTimeout(c.WithLog(ctx), credentialsPause, credentialsPatience, true, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, kube.RequestTimeout)
		defer cancel()
		var err error
		if secret, err = c.getOrCreate(ctx, config); err == nil {
			secret, err = c.addMissing(ctx, config, secret)
		}
		if err != nil && kube.Refused(err) && !apierrors.IsConflict(err) {
			return false, err
		}
		last = err
		return err == nil, nil
	})
	if wait.Interrupted(err) && last != nil {
		err = last
	}
	if err != nil {
		return fmt.Errorf("make the Secret %s in namespace %s: %w", config.Secret, c.Namespace(), err)
	}
	return config.check(secret)
}

// getOrCreate returns the Secret as it is in the cluster.
func (c *Client) getOrCreate(ctx context.Context, config CredentialsConfig) (*corev1.Secret, error) {
	secrets := c.core.Secrets(c.Namespace())
	secret, err := secrets.Get(ctx, config.Secret, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return secret, err
	}
	passwords, err := newPasswords(config.Users)
	if err != nil {
		return nil, err
	}
	secret, err = secrets.Create(ctx, config.secret(passwords), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) { // another process was faster
		return secrets.Get(ctx, config.Secret, metav1.GetOptions{})
	}
	if err == nil {
		c.logger.Info().Str("secret", config.Secret).Str("namespace", c.Namespace()).Strs("users", config.Users).Msg("made the Secret")
	}
	return secret, err
}

// addMissing gives the Secret a password for each user whose key it lacks. The update fails with a conflict if somebody has changed it since it was read.
func (c *Client) addMissing(ctx context.Context, config CredentialsConfig, secret *corev1.Secret) (*corev1.Secret, error) {
	missing := slices.DeleteFunc(slices.Clone(config.Users), func(user string) bool { _, there := secret.Data[user]; return there })
	if len(missing) == 0 {
		return secret, nil
	}
	passwords, err := newPasswords(missing)
	if err != nil {
		return nil, err
	}
	more := secret.DeepCopy()
	maps.Copy(passwords, more.Data)
	more.Data = passwords
	more, err = c.core.Secrets(c.Namespace()).Update(ctx, more, metav1.UpdateOptions{})
	if err == nil {
		c.logger.Info().Str("secret", config.Secret).Str("namespace", c.Namespace()).Strs("users", missing).Msg("added passwords to the Secret")
	}
	return more, err
}

// secret is the one to make.
func (config CredentialsConfig) secret(passwords map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: config.Secret, Labels: config.Labels, Annotations: config.Annotations},
		Type:       corev1.SecretTypeOpaque,
		Data:       passwords,
	}
}

// check names the users whose key is there and empty: somebody has done that.
func (config CredentialsConfig) check(secret *corev1.Secret) error {
	empty := slices.DeleteFunc(slices.Clone(config.Users), func(user string) bool { return len(secret.Data[user]) > 0 })
	if len(empty) == 0 {
		return nil
	}
	return fmt.Errorf("the Secret %s in namespace %s has an empty password for %s: set it, or remove the key to have one made",
		config.Secret, secret.Namespace, strings.Join(empty, ", "))
}

const (
	// passwordLength makes 190 bits of the 62 characters below.
	passwordLength = 32
	letters        = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	lettersDigits  = letters + "0123456789"
)

// newPasswords makes one for each user.
func newPasswords(users []string) (map[string][]byte, error) {
	passwords := map[string][]byte{}
	for _, user := range users {
		password, err := newPassword()
		if err != nil {
			return nil, err
		}
		passwords[user] = password
	}
	return passwords, nil
}

// newPassword returns letters and digits, a letter first: the configuration of a NATS server takes it for a text, whatever is around.
func newPassword() ([]byte, error) {
	password := make([]byte, passwordLength)
	alphabet := letters
	for i := range password {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			return nil, fmt.Errorf("make a password: %w", err)
		}
		password[i] = alphabet[n.Int64()]
		alphabet = lettersDigits
	}
	return password, nil
}
