package evidence

import (
	"regexp"
	"strings"
)

// Forms of secrets that forges and clouds publish for scanners, and the names
// beside which values are secret whatever their form.
var secretForms = []*regexp.Regexp{
	regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})`),
	regexp.MustCompile(`\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-[A-Za-z0-9_.-]{16,}`),
	regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z0-9]{16}\b`),
	regexp.MustCompile(`\bxox[abeoprs]-[A-Za-z0-9-]{10,}`),
	regexp.MustCompile(`\bhooks\.slack\.com/services/[A-Za-z0-9/]+`),
	regexp.MustCompile(`\b(?:npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{40,}|dckr_pat_[A-Za-z0-9_-]{20,}|rubygems_[a-f0-9]{40,})`),
	regexp.MustCompile(`\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}|\bsk-[A-Za-z0-9_-]{20,}`),
	regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{30,}|\bya29\.[A-Za-z0-9_-]{20,}`),
	regexp.MustCompile(`\bey[A-Za-z0-9_-]{8,}\.ey[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`), // JWT
	regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----.*`),
}

var (
	// The value beside a telling name: API_KEY=…, "password": "…", --token ….
	namedSecret = regexp.MustCompile(`(?i)((?:^|[\s"'{,;&?-])[\w.-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|client[_-]?key|credentials?)["']?(?:\s*[=:]\s*|\s+(?:is\s+)?["']))("[^"]{4,}"|'[^']{4,}'|[^\s"',;&]{4,})`)
	flagSecret  = regexp.MustCompile(`(?i)(\s--?(?:password|passwd|token|secret|api-key)(?:\s+|=))([^\s-][^\s]{3,})`)
	authHeader  = regexp.MustCompile(`(?i)(\bauthorization:?["']?\s*[:=]?\s*["']?(?:basic|bearer|token)\s+|\bbearer\s+)[A-Za-z0-9+/_.=~-]{8,}`)
	urlPassword = regexp.MustCompile(`([a-z][a-z0-9+.-]*://[^\s:/@"']*:)[^\s/@"']+@`)
	urlToken    = regexp.MustCompile(`([a-z][a-z0-9+.-]*://)[A-Za-z0-9_-]{20,}@`)
	// Part of every secret that the patterns above look for.
	hints = []string{"pass", "secret", "token", "key", "credential", "bearer", "authorization", "://", "gh", "gl", "akia", "asia", "xox", "hooks.", "npm_", "pypi-", "dckr_", "rubygems_", "sk", "rk_", "pk_", "aiza", "ya29", "ey"}
)

const masked = "***"

// MaskSecrets replaces what looks like a secret by ***: tokens of known forms,
// values beside names such as password or token, and the credentials of URLs.
// The forges mask the secrets that they know; this is for those they do not.
func MaskSecrets(s string) string {
	if !mayHoldSecret(s) {
		return s
	}
	for _, form := range secretForms {
		s = form.ReplaceAllString(s, masked)
	}
	s = urlPassword.ReplaceAllString(s, "${1}"+masked+"@")
	s = urlToken.ReplaceAllString(s, "${1}"+masked+"@")
	s = authHeader.ReplaceAllString(s, "${1}"+masked)
	s = flagSecret.ReplaceAllString(s, "${1}"+masked)
	return namedSecret.ReplaceAllStringFunc(s, func(found string) string {
		part := namedSecret.FindStringSubmatch(found)
		if isPlainWord(part[2]) {
			return found
		}
		return part[1] + masked
	})
}

func mayHoldSecret(s string) bool {
	lower := strings.ToLower(s)
	for _, hint := range hints {
		if strings.Contains(lower, hint) {
			return true
		}
	}
	return false
}

// Words that stand beside "token:" or "password is" in messages and not in
// place of a secret.
var plainValue = regexp.MustCompile(`^["']?(?:\*+|<[^>]*>|\$\{?[\w{][^\s]*|[Nn]one|null|true|false|undefined|missing|invalid|expired|required|empty|read|write|not|unexpected|expected|was|is|must|should|cannot|could|the|no|for|unauthorized|string|String|int|&?str|bool)\b?["']?$`)

func isPlainWord(value string) bool {
	return plainValue.MatchString(value)
}
