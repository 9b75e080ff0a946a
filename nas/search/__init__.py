"""Running a search: prepare it, then propose, train and tell until the study has its trials."""
