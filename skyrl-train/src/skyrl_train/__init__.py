"""The module that the SkyRL + SGLang tutorial names; everything behind it is Tetrad."""
