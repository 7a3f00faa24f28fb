package web

// AppPage tells operators of the GitHub App, and lets them register one.
type AppPage struct {
	Frame
	Tabs    []Tab
	Problem string // what went wrong, for people; empty when nothing did
	// The App; Name is empty when there is none.
	Name, Slug, URL, InstallURL string
	InSettings                  bool // the settings name the App, and win
	ID                          int64
	Installations               []AppInstallation
}

// AppInstallation is an installation of the App.
type AppInstallation struct {
	Account, SettingsURL, State string
	Repositories                int
}

func (AppPage) template() string { return "githubapp.html" }

// ManifestPage sends an App's manifest to GitHub, by itself where scripts run,
// else by its button.
type ManifestPage struct {
	Frame
	Name, Action, Manifest string
}

func (ManifestPage) template() string { return "manifest.html" }
