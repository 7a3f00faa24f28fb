package payload

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
)

// Redacted stands for what is not kept.
const Redacted = "[redacted]"

// secretWords are parts of the names of members whose texts are secrets.
var secretWords = []string{"token", "secret", "password", "passwd", "private_key", "api_key", "apikey", "authorization", "credential"}

// userinfo is a name and a password in a URL.
var userinfo = regexp.MustCompile(`://[^/?#@\s]*:[^/?#@\s]*@`)

// Redact returns a payload that may be kept and shown: without the values of
// CI variables, texts whose names say that they are secrets, and passwords in
// URLs. What is no JSON gives nil.
func Redact(document []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber() // ids beyond 53 bits stay as they are
	var v any
	if d.Decode(&v) != nil {
		return nil
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if e.Encode(redact("", v)) != nil {
		return nil
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

func redact(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if isVariables(name) && key != "key" {
				v[key] = Redacted
				continue
			}
			v[key] = redact(key, value)
		}
	case []any:
		for i, value := range v {
			v[i] = redact(name, value)
		}
	case string:
		if isSecret(name) && v != "" {
			return Redacted
		}
		return userinfo.ReplaceAllString(v, "://"+Redacted+"@")
	}
	return v
}

// isVariables recognises GitLab's CI variables, and the inputs of GitHub's
// workflows, which people fill with secrets too.
func isVariables(name string) bool { return name == "variables" || name == "inputs" }

func isSecret(name string) bool {
	lower := strings.ToLower(name)
	for _, word := range secretWords {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return false
}
