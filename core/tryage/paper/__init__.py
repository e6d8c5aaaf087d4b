"""The paper's experiment: masked language models on several kinds of text, and a router of them."""
