package kube

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// CredentialsConfig says which Secret EnsureCredentials makes.
type CredentialsConfig struct {
	Secret      string            `required:"" help:"Name of the Secret."`
	Users       []string          `default:"gateway,dispatcher,scaler,client,route" help:"Users, with commas between: each is a key of the Secret, with a random password."`
	Labels      map[string]string `name:"label" mapsep:"none" help:"Label of the Secret, as key=value; may be repeated."`
	Annotations map[string]string `name:"annotation" mapsep:"none" help:"Annotation of the Secret, as key=value; may be repeated."`
}

const (
	// credentialsPatience is for how long an API server that does not serve us is asked again.
	credentialsPatience = time.Minute
	// credentialsPause is the time between two attempts.
	credentialsPause = time.Second
)

// EnsureCredentials makes the Secret with a random password for each user unless it is there: then it is never changed, and
// the error names the users that it lacks. Several processes may do it at once, and one of them makes it.
func (c *Client) EnsureCredentials(ctx context.Context, config CredentialsConfig) error {
	if len(config.Users) == 0 || slices.Contains(config.Users, "") {
		return fmt.Errorf("--users %q: each must have a name, and there must be one at least", config.Users)
	}
	var secret *corev1.Secret
	var last error // why the attempt before failed
	err := wait.PollUntilContextTimeout(c.withLog(ctx), credentialsPause, credentialsPatience, true, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		var err error
		secret, err = c.getOrCreate(ctx, config)
		if err != nil && refused(err) {
			return false, err
		}
		last = err
		return err == nil, nil
	})
	if wait.Interrupted(err) && last != nil {
		err = last
	}
	if err != nil {
		return fmt.Errorf("make the Secret %s in namespace %s: %w", config.Secret, c.config.Namespace, err)
	}
	return config.check(secret)
}

// getOrCreate returns the Secret as it is in the cluster.
func (c *Client) getOrCreate(ctx context.Context, config CredentialsConfig) (*corev1.Secret, error) {
	secrets := c.core.Secrets(c.config.Namespace)
	secret, err := secrets.Get(ctx, config.Secret, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return secret, err
	}
	made, err := config.secret()
	if err != nil {
		return nil, err
	}
	secret, err = secrets.Create(ctx, made, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) { // another process was faster
		return secrets.Get(ctx, config.Secret, metav1.GetOptions{})
	}
	if err == nil {
		c.logger.Info().Str("secret", config.Secret).Str("namespace", c.config.Namespace).Strs("users", config.Users).Msg("made the Secret")
	}
	return secret, err
}

// refused reports whether the API server has given an answer that another attempt would get again. No answer, or one that it
// is too busy, is none.
func refused(err error) bool {
	reason := apierrors.ReasonForError(err)
	return reason != metav1.StatusReasonUnknown && !apierrors.IsTooManyRequests(err) && !apierrors.IsServerTimeout(err) &&
		!apierrors.IsTimeout(err) && !apierrors.IsServiceUnavailable(err) && !apierrors.IsInternalError(err)
}

// secret has a new password for each user.
func (config CredentialsConfig) secret() (*corev1.Secret, error) {
	data := map[string][]byte{}
	for _, user := range config.Users {
		password, err := newPassword()
		if err != nil {
			return nil, err
		}
		data[user] = password
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: config.Secret, Labels: config.Labels, Annotations: config.Annotations},
		Type:       corev1.SecretTypeOpaque,
		Data:       data,
	}, nil
}

// check names the users without a password.
func (config CredentialsConfig) check(secret *corev1.Secret) error {
	missing := slices.DeleteFunc(slices.Clone(config.Users), func(user string) bool { return len(secret.Data[user]) > 0 })
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("the Secret %s in namespace %s has no password for %s: add these keys, or delete the Secret to have all made anew",
		config.Secret, secret.Namespace, strings.Join(missing, ", "))
}

const (
	// passwordLength makes 190 bits of the 62 characters below.
	passwordLength = 32
	letters        = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	lettersDigits  = letters + "0123456789"
)

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
