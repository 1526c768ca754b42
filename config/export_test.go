package config

// Parse overlays c with a YAML document.
func Parse(data []byte, c *Config) error {
	_, err := parse(data, c)
	return err
}
