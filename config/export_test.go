package config

// Parse overlays c with a YAML document.
func Parse(data []byte, c *Config) error {
	_, wrong, err := parse(data, c)
	if len(wrong) > 0 {
		return Source{}.located(wrong, nil, nil, nil)
	}
	return err
}
