package config

// Preset is what a setting is without being set, if it is anything.
func Preset(name string) (value string, ok bool) {
	for _, s := range settings {
		if s.name == name {
			return s.preset, s.preset != ""
		}
	}
	return "", false
}
