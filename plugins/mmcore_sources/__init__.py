"""Sources for one's own data: tars, parquet, folders of pictures, Hugging Face datasets."""
