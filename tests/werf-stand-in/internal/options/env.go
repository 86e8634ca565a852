package options

import (
	"sort"
	"strconv"
	"strings"
)

// Env is a process environment; a value of its own so that tests need not touch the real one.
type Env map[string]string

// NewEnv takes what os.Environ gives.
func NewEnv(environ []string) Env {
	env := Env{}
	for _, pair := range environ {
		if name, value, found := strings.Cut(pair, "="); found {
			env[name] = value
		}
	}
	return env
}

// String is a variable, or the fallback when it is unset or empty.
func (e Env) String(name, fallback string) string {
	if value := e[name]; value != "" {
		return value
	}
	return fallback
}

// Int is a number, or the fallback when the variable is not one.
func (e Env) Int(name string, fallback int) int {
	if value, err := strconv.Atoi(e[name]); err == nil {
		return value
	}
	return fallback
}

// Bool is true for the spellings werf takes as true.
func (e Env) Bool(name string) bool {
	switch strings.ToLower(e[name]) {
	case "1", "true", "yes":
		return true
	}
	return false
}

// Words splits a variable at its commas.
func (e Env) Words(name string) []string {
	if e[name] == "" {
		return nil
	}
	return strings.Split(e[name], ",")
}

// List collects the variables that begin with the prefix, in the order of their names, without
// those that begin with one of the longer prefixes.
func (e Env) List(prefix string, except ...string) []string {
	var names []string
	for name := range e {
		if strings.HasPrefix(name, prefix) && !hasAnyPrefix(name, except) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	values := make([]string, 0, len(names))
	for _, name := range names {
		values = append(values, e[name])
	}
	return values
}

func hasAnyPrefix(name string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
